"""The public face: five names, imported when they are asked for."""

import subprocess
import sys

import pytest

from mmhier import apis


def test_each_name_is_what_its_room_has():
    names = ['FrameResult', 'Inferencer', 'ResultWriter', 'export_model', 'load_body_model']
    assert sorted(apis.__all__) == names
    for name in names:
        found = getattr(apis, name)
        assert found.__name__ == name and found.__module__.startswith('mmhier.')
    assert set(names) <= set(dir(apis))
    with pytest.raises(AttributeError, match='nobody'):
        apis.nobody  # noqa: B018


def test_importing_it_imports_nothing_large():
    code = (
        'import sys, mmhier.apis\n'
        "print([name for name in ('torch', 'numpy', 'cv2', 'mmengine', 'mmpose') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'
