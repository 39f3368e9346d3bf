"""timm is imported without torchvision, and finds it missing where it would really use it."""

import importlib.util

import pytest
from torch import nn

from mmhier.compat.shims.torchvision_names import Absent, FrozenBatchNorm2d, modules

WITHOUT = """
    import importlib.abc
    class Nobody(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition('.')[0] == 'torchvision':
                raise ModuleNotFoundError("No module named 'torchvision'", name='torchvision')
    sys.meta_path.insert(0, Nobody())
    import mmhier
"""


def test_names_can_be_bound_and_not_used():
    transforms = modules()['torchvision'].transforms
    mode = transforms.functional.InterpolationMode.NEAREST
    assert {mode: 1}[mode] == 1 and not hasattr(mode, '__len__')

    class Derived(transforms.Compose):
        pass

    assert Derived.__mro__ == (Derived, object)
    with pytest.raises(ImportError, match=r'torchvision\.transforms\.Resize is needed here: pip install'):
        transforms.Resize(3)
    with pytest.raises(ImportError, match='FrozenBatchNorm2d'):
        FrozenBatchNorm2d(3)
    assert not isinstance(nn.BatchNorm2d(3), FrozenBatchNorm2d)
    assert isinstance(modules()['torchvision.datasets'].CIFAR10, Absent)


def test_timm_builds_networks_without_torchvision(fresh_python):
    if importlib.util.find_spec('timm') is None:
        pytest.skip('timm is not installed')
    out = fresh_python(
        WITHOUT
        + """
    import timm
    print(timm.create_model('pvt_v2_b0', features_only=True, out_indices=(0, 1)).feature_info.channels())
    print(sorted(name for name in sys.modules if name.partition('.')[0] == 'torchvision'))
    try:
        timm.data.create_transform(224)
    except ImportError as error:
        print(error)
    """
    )
    assert '[32, 64]\n[]\n' in out and 'is needed here: pip install torchvision' in out
