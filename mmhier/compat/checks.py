"""The stack that mmhier stands on, tried piece by piece: what ``mmhier doctor`` says of it."""

import importlib
import platform
import sys
import tempfile
from contextlib import redirect_stdout
from importlib import metadata
from io import StringIO
from pathlib import Path
from types import ModuleType

from mmhier.compat.finders import SHIMS
from mmhier.compat.installation import INSTALL
from mmhier.parts import Part, Problem, importable, version_of

PYTHONS = (3, 10), (3, 13)
MIN_TORCH = (2, 4)

# Distributions that install the same import name; of each group only one may be there.
RIVALS = (
    ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
    ('mmengine', 'onedl-mmengine'),
    ('mmdet', 'onedl-mmdetection'),
    ('mmpretrain', 'onedl-mmpretrain'),
)
REINSTALL = ('--upgrade', '--force-reinstall', '--no-deps')
REPORT = 'report this with the text above'


def _python() -> str:
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        raise Problem(f'{platform.python_version()} is outside 3.10 to 3.13')
    return platform.python_version()


def _rivals() -> str:
    for group in RIVALS:
        found = [name for name in group if version_of(name)]
        if len(found) > 1:
            raise Problem(f'{" and ".join(found)} overwrite each other')
    return 'no two distributions with the same import name'


def _torch() -> str:
    import torch

    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < MIN_TORCH:
        raise Problem(f'{torch.__version__} is older than 2.4')
    torch.ones(2, 2) @ torch.ones(2, 2)
    if torch.version.cuda is None and torch.version.hip is None:
        return f'{torch.__version__}, CPU only'
    kit = f'CUDA {torch.version.cuda}' if torch.version.cuda else f'ROCm {torch.version.hip}'
    if not torch.cuda.is_available():
        return f'{torch.__version__}, {kit}, no usable GPU'
    (torch.ones(2, 2, device='cuda') @ torch.ones(2, 2, device='cuda')).sum().item()
    return f'{torch.__version__}, {kit}, {torch.cuda.device_count()} x {torch.cuda.get_device_name()}'


def _numpy() -> str:
    import numpy as np
    import torch

    torch.from_numpy(np.ones(2)).numpy()  # fails if torch was built for another numpy
    return np.__version__


def _opencv() -> str:
    import cv2
    import numpy as np

    done, coded = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))
    if not done or cv2.imdecode(coded, cv2.IMREAD_COLOR).shape != (8, 8, 3):
        raise Problem(f'{cv2.__version__} cannot encode and decode a JPEG image')
    return cv2.__version__


def _mmengine() -> str:
    from mmengine.runner import Runner  # noqa: F401
    from mmengine.utils import is_installed

    is_installed('mmengine')  # in 0.10 through pkg_resources, which setuptools 82 no longer has
    return _first_version('mmengine', 'onedl-mmengine')


def _mmcv() -> str:
    import mmcv._ext

    importlib.import_module('mmcv.ops')
    version = _first_version('mmcv', 'mmcv-lite', 'onedl-mmcv')
    return f'{version}, {"without" if _stands_in(mmcv._ext) else "with"} compiled operations'


def _mmpose() -> str:
    for name in ('models', 'datasets', 'codecs', 'evaluation', 'visualization', 'apis'):
        importlib.import_module(f'mmpose.{name}')
    return metadata.version('mmpose')


def _coco() -> str:
    """Evaluate one person who is found exactly, with what MMPose imports."""
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval

    person = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 9, 9], 'area': 81, 'iscrowd': 0}
    person |= {'keypoints': [4, 4, 2] * 17, 'num_keypoints': 17}
    annotations = COCO()
    annotations.dataset = {'images': [{'id': 1}], 'annotations': [person], 'categories': [{'id': 1}]}
    with redirect_stdout(StringIO()):
        annotations.createIndex()
        found = annotations.loadRes(
            [{'image_id': 1, 'category_id': 1, 'keypoints': [4, 4, 1] * 17, 'score': 1.0}]
        )
        evaluation = COCOeval(annotations, found, 'keypoints')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    if abs(evaluation.stats[0] - 1) > 1e-6:
        raise Problem(f'AP of an exact prediction is {evaluation.stats[0]}, not 1')
    if _stands_in(sys.modules['xtcocotools.coco']):
        return f'faster-coco-eval {metadata.version("faster-coco-eval")} (under the name xtcocotools)'
    return f'xtcocotools {metadata.version("xtcocotools")}'


def _backbone() -> str:
    import torch
    from mmpose.registry import MODELS

    backbone = MODELS.build(dict(type='mmpose.TruncatedSwin', arch='tiny', num_stages=2)).eval()
    with torch.no_grad():
        (output,) = backbone(torch.zeros(1, 3, 64, 48))
    if tuple(output.shape) != (1, 192, 8, 6):
        raise Problem(f'its output has shape {tuple(output.shape)}, not (1, 192, 8, 6)')
    return 'builds from a config and runs'


def _checkpoints() -> str:
    import torch
    from mmengine.logging import HistoryBuffer
    from mmengine.runner import CheckpointLoader

    from mmhier.compat.checkpoint import TRUST_VARIABLE, is_trusted

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'checkpoint.pth'
        torch.save({'log': HistoryBuffer([1.0], [1])}, path)
        loaded = CheckpointLoader.load_checkpoint(str(path), map_location='cpu', logger='silent')
    if loaded['log'].mean() != 1:
        raise Problem('a saved log is not what it was')
    if is_trusted():
        return f'read WITHOUT protection, because {TRUST_VARIABLE} is set'
    return 'read without executing anything in them'


def _nms() -> str:
    import torch
    from mmcv.ops import nms

    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [50, 50, 60, 60]])
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1].tolist()
    if kept != [0, 2]:
        raise Problem(f'non-maximum suppression keeps {kept}, not [0, 2]')
    return 'non-maximum suppression runs'


def _torchvision() -> str:
    import torch
    import torchvision

    torchvision.ops.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([1.0]), 0.5)
    return torchvision.__version__


def _first_version(*distributions: str) -> str:
    """Name and version of the first of these that is installed."""
    for name in distributions:
        version = version_of(name)
        if version:
            return version if name == distributions[0] else f'{version} ({name})'
    return 'unknown version'


def _stands_in(module: ModuleType) -> bool:
    """Whether a module is one that :mod:`mmhier.compat` supplies."""
    return Path(module.__file__).is_relative_to(SHIMS)


REQUIRED = (
    Part('python', _python, advice='use Python 3.10 to 3.13'),
    Part('torch', _torch, INSTALL['torch'], 'a GPU that fails may want another build: https://pytorch.org'),
    Part('numpy', _numpy, (*REINSTALL, 'numpy>=1.26'), 'in a version that torch was built for'),
    Part('opencv', _opencv, (*REINSTALL, 'opencv-python-headless')),
    Part('mmengine', _mmengine, INSTALL['mmengine']),
    Part('mmcv', _mmcv, INSTALL['mmcv']),
    Part('mmpose', _mmpose, INSTALL['mmpose']),
    Part('no rivals', _rivals, advice='pip uninstall all of them, then install one'),
    Part('COCO evaluation', _coco, ('faster-coco-eval>=1.6.5',)),
    Part('checkpoints', _checkpoints, advice=REPORT),
    Part('TruncatedSwin', _backbone, advice=REPORT),
)
OPTIONAL = (
    Part('mmcv operations', _nms, advice=REPORT),
    Part('torchvision', _torchvision, ('torchvision',), 'of the release and build that match torch'),
    Part(
        'mmdet',
        importable('mmdet.apis', 'mmdet'),
        ('mmdet', 'mmcv-lite<2.2'),
        'for its person detectors',
    ),
    Part(
        'mmpretrain',
        importable('mmpretrain.models', 'mmpretrain'),
        INSTALL['mmpretrain'],
        'for its backbones',
    ),
)
