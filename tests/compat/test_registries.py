"""mmhier's modules in MMPose's registries, whatever is imported first."""

import ast
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.registry import Registry

import mmhier
from mmhier.compat import registries

ORDERS = {
    'mmhier first': ['import mmhier', 'from mmpose.registry import METRICS'],
    'registry first': ['from mmpose.registry import METRICS', 'import mmhier'],
    'mmengine first': ['import mmengine.runner', 'import mmhier', 'from mmpose.registry import METRICS'],
    'ours first': ['import mmhier.evaluation.metrics', 'from mmpose.registry import METRICS'],
}


@pytest.mark.parametrize('order', ORDERS)
def test_any_order_of_imports(fresh_python, order):
    code = '\n'.join([*ORDERS[order], 'print(METRICS.get("CocoPhiMetric"), METRICS.get("CocoMetric"))'])
    out = fresh_python(code)
    assert 'CocoPhiMetric' in out and 'CocoMetric' in out and 'None' not in out


def test_custom_imports_of_a_config(fresh_python, tmp_path):
    (tmp_path / 'config.py').write_text(
        "custom_imports = dict(imports=['mmhier'])\ndefault_scope = 'mmpose'\n"
    )
    out = fresh_python(
        f"""
        from mmengine.config import Config
        from mmengine.registry import METRICS, init_default_scope
        config = Config.fromfile({str(tmp_path / 'config.py')!r})
        init_default_scope(config.default_scope)
        print(METRICS.build(dict(type='CocoPhiMetric')))
        """
    )
    assert 'CocoPhiMetric object' in out


def fake_registries(monkeypatch, **made: Registry) -> SimpleNamespace:
    """A stand-in for mmpose.registry, with locations of its own."""
    monkeypatch.setattr(registries, 'LOCATIONS', {'MODELS': ('late_models',), 'HOOKS': ('late_hooks',)})
    return SimpleNamespace(**made)


def test_before_the_first_look_up_nothing_is_imported(tmp_path, monkeypatch):
    (tmp_path / 'late_models.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    models, hooks = Registry('model', locations=['json']), Registry('hook', locations=['json'])
    module = fake_registries(monkeypatch, MODELS=models, HOOKS=hooks)
    registries.add_locations(module)
    registries.add_locations(module)
    assert models._locations == ['json', 'late_models'] and hooks._locations == ['json', 'late_hooks']
    assert 'late_models' not in sys.modules
    assert models.get('nothing') is None
    assert 'late_models' in sys.modules


def test_during_and_after_the_first_look_up(tmp_path, monkeypatch):
    """A registry that is importing goes on to ours; one that has imported gets ours at once."""
    (tmp_path / 'late_models.py').write_text('LOADED = True')
    (tmp_path / 'late_hooks.py').write_text('LOADED = True')
    (tmp_path / 'host_models.py').write_text(
        'import host_models_half\nimport sys\nsys.host_models_done = True'
    )
    (tmp_path / 'host_models_half.py').write_text(
        'import sys\nfrom mmhier.compat import registries\nregistries.add_locations(sys.fake_registry)\n'
        'assert "late_models" not in sys.modules and "late_hooks" in sys.modules'
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ('late_models', 'late_hooks'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    models, hooks = Registry('model', locations=['host_models']), Registry('hook', locations=['json'])
    hooks.import_from_location()
    monkeypatch.setattr(
        sys, 'fake_registry', fake_registries(monkeypatch, MODELS=models, HOOKS=hooks), raising=False
    )
    models.import_from_location()
    assert sys.host_models_done and sys.modules['late_models'].LOADED and sys.modules['late_hooks'].LOADED
    del sys.host_models_done


def test_every_location_exists():
    from mmpose import registry

    for name, locations in registries.LOCATIONS.items():
        for location in locations:
            importlib.import_module(location)
            assert location in getattr(registry, name)._locations


def registrations() -> dict[str, list[str]]:
    """Every ``@REGISTRY.register_module()`` in the source: registry -> names of classes."""
    found: dict[str, list[str]] = {}
    for path in Path(mmhier.__file__).parent.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            for decorator in getattr(node, 'decorator_list', ()):
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(
                    '.register_module'
                ):
                    found.setdefault(decorator.func.value.id, []).append(node.name)
    return found


@pytest.mark.parametrize('name', sorted(registrations()))
def test_a_look_up_alone_finds_everything(fresh_python, name):
    """In a process that has imported nothing else, as a config with ``custom_imports`` does."""
    out = fresh_python(
        f"""
        import mmhier
        from mmpose.registry import {name}
        for name in {registrations()[name]}:
            print(name, {name}.get(name) is not None)
        """
    )
    assert 'True' in out and 'False' not in out
