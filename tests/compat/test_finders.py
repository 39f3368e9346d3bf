"""Imports that the stock MMPose needs: supplied when absent or broken, left alone when they work."""

import importlib
import importlib.util
import logging
import sys
from pathlib import Path

import pytest

from mmhier.compat import finders


def write_package(folder: Path, name: str, **files: str) -> None:
    """Write a package whose modules have the given sources; ``__init__`` is empty unless given."""
    (folder / name).mkdir()
    for module, source in {'__init__': '', **files}.items():
        (folder / name / f'{module}.py').write_text(source)


def test_importing_mmhier_is_cheap(fresh_python):
    heavy = ['torch', 'numpy', 'cv2', 'mmengine', 'mmcv', 'mmpose', 'multiprocessing', 'faster_coco_eval']
    out = fresh_python(f'import mmhier; print([name for name in {heavy} if name in sys.modules])')
    assert out.strip() == '[]'


def test_everything_of_mmpose_imports():
    names = [
        'apis',
        'codecs',
        'datasets',
        'engine',
        'evaluation',
        'models',
        'structures',
        'utils',
        'visualization',
    ]
    for name in names:
        importlib.import_module(f'mmpose.{name}')
    from mmpose.models.heads import EDPoseHead, RTMOHead
    from mmpose.visualization.simcc_vis import SimCCVisualizer

    assert RTMOHead.__module__ == 'mmpose.models.heads.hybrid_heads.rtmo_head'
    assert EDPoseHead and SimCCVisualizer


def test_mmdet_is_still_missing():
    """What stands in for mmdet's two names must not look like mmdet."""
    if importlib.util.find_spec('mmdet') is not None:
        pytest.skip('mmdet is installed')
    from mmpose.apis.inferencers import base_mmpose_inferencer as inferencer
    from mmpose.models.heads.hybrid_heads import rtmo_head

    assert rtmo_head.reduce_mean.__module__ == 'mmpose.utils.dist_utils'
    assert not inferencer.has_mmdet
    assert not [name for name in sys.modules if name.split('.')[0] == 'mmdet']
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('mmdet')
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('mmdet.utils')
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('mmdet.apis')


def test_backbones_of_mmpretrain_import():
    pytest.importorskip('mmpretrain')
    from mmpretrain.models import VisionTransformer
    from mmpretrain.models.utils import box_utils

    assert VisionTransformer and callable(box_utils.boxes.generalized_box_iou)
    if importlib.util.find_spec('torchvision') is None:
        assert not [name for name in sys.modules if name.split('.')[0] == 'torchvision']


def test_syncbn_can_be_reverted():
    """MMEngine looks for mmcv's compiled part with pkgutil here, which wants a module with a spec."""
    from mmengine.model import revert_sync_batchnorm
    from torch import nn

    importlib.import_module('mmcv.ops')
    model = revert_sync_batchnorm(nn.Sequential(nn.SyncBatchNorm(3), nn.ReLU()))
    assert type(model[0]).__name__ == '_BatchNormXd'


def test_nothing_is_supplied_under_other_names():
    finder = finders.FallbackFinder()
    for name in ('mmdet', 'mmdet.utils', 'torchvision', 'mmcv', 'mmcv._extra', 'pycocotools', 'mmpose'):
        assert finder.find_spec(name) is None
    assert sum(isinstance(item, finders.FallbackFinder) for item in sys.meta_path) == 1


XTCOCO = """
    import mmhier
    import xtcocotools.mask as mask
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval
    import xtcocotools.mask
    print(COCO.__module__, xtcocotools.__path__, mask.decode.__module__)
"""


def test_a_working_xtcocotools_is_used(fresh_python, tmp_path):
    write_package(
        tmp_path,
        'xtcocotools',
        mask='def decode(): ...',
        coco='class COCO: theirs = True',
        cocoeval='class COCOeval: ...',
    )
    out = fresh_python(XTCOCO + '    assert COCO.theirs', tmp_path)
    assert str(tmp_path) in out and 'broken' not in out


def test_a_broken_xtcocotools_is_replaced_and_told_once(fresh_python, tmp_path):
    message = 'numpy.dtype size changed'
    write_package(
        tmp_path,
        'xtcocotools',
        mask='import xtcocotools._mask',
        _mask=f'raise ValueError({message!r})',
        coco='from . import mask',
        cocoeval='from . import mask',
    )
    out = fresh_python(XTCOCO, tmp_path)
    assert 'faster_coco_eval' in out and str(Path(finders.SHIMS, 'xtcocotools')) in out
    assert out.count(message) == 1


def test_a_broken_torchvision_is_told_and_counts_as_missing(fresh_python, tmp_path):
    message = 'operator torchvision::nms does not exist'
    write_package(tmp_path, 'torchvision', __init__=f'raise RuntimeError({message!r})')
    out = fresh_python(
        """
        import mmhier
        from mmpose.visualization.simcc_vis import ToPILImage
        print(ToPILImage.__module__)
        assert 'torchvision' not in sys.modules and 'torchvision.transforms' not in sys.modules
        from mmengine.utils.dl_utils import collect_env
        print('TorchVision' in collect_env())
        try:
            import torchvision
        except ImportError as error:
            print('still broken:', error)
        """,
        tmp_path,
    )
    assert 'mmhier.compat.shims.torchvision_transforms' in out and f'still broken: {message}' in out
    assert f'torchvision is installed but broken: {message}' in out


def test_an_mmdet_that_refuses_mmcv_is_told(fresh_python, tmp_path):
    write_package(tmp_path, 'mmdet', __init__='assert False, "MMCV==2.2.0 is used but incompatible."')
    out = fresh_python(
        """
        import mmhier
        from mmpose.apis.inferencers import base_mmpose_inferencer
        assert not base_mmpose_inferencer.has_mmdet
        from mmpose.models.heads.hybrid_heads.rtmo_head import reduce_mean
        print(reduce_mean.__module__)
        """,
        tmp_path,
    )
    assert 'mmpose.utils.dist_utils' in out
    assert out.count('MMCV==2.2.0 is used but incompatible.') == 1 and "pip install 'mmcv-lite==2.1.0'" in out


ABSENT = """
    class Absent:
        def find_spec(name, path=None, target=None):
            if name == 'MISSING':
                raise ModuleNotFoundError(f'No module named {name!r}', name=name)

    sys.meta_path.insert(0, Absent)
    import mmhier
    """


@pytest.mark.parametrize('missing', ['mmpose', 'mmcv', 'mmengine'])
def test_a_missing_part_is_told_when_needed(fresh_python, missing, tmp_path, monkeypatch):
    """By every command, and to programs; what needs none of it works."""
    monkeypatch.setenv('MMHIER_HOME', str(tmp_path))  # costs that are kept need no counting
    code = (
        ABSENT
        + """
    import mmhier.datasets, mmhier.evaluation.functional
    from mmhier.cli.main import main
    for command in COMMANDS:
        print(main(command.split()))
    try:
        from mmhier.apis import Inferencer
    except ImportError as error:
        print(type(error).__name__, error)
    """
    )
    commands = [
        'infer a.png --model swinpose_s_s3 --weights random', 'train swinpose_s_s3', 'models swinpose_s_s3',
        'test swinpose_s_s3 a.pth', 'export swinpose_s_s3 random', 'benchmark swinpose_s_s3',
    ]  # fmt: skip
    out = fresh_python(code.replace('MISSING', missing).replace('COMMANDS', repr(commands)))
    *said, last = [line for line in out.splitlines() if 'mmhier doctor --fix' in line]
    assert len([line for line in out.splitlines() if line == '1']) == len(commands)
    assert len({*said, last}) >= 2 and out.count('Run: mmhier doctor --fix') == len(commands) + 1
    assert 'ModuleNotFoundError mmhier.' in out and f' needs {missing}, which is not installed' in out


def test_importable_tells_broken_from_absent(tmp_path, monkeypatch, caplog):
    write_package(tmp_path, 'half_there', part='import not_there_at_all')
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.WARNING, logger='mmhier'):
        assert finders._importable('json.decoder')
        assert not finders._importable('nobody_has_this.part')
        assert not caplog.records
        assert not finders._importable('half_there.part')
        assert not finders._importable('half_there.part')
        assert caplog.text.count('half_there is installed but broken') == 1
