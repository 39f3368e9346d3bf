"""How a source of person boxes is named.

===========================  ==========================================================================
``load_detector(...)``       boxes
===========================  ==========================================================================
``'whole_image'``            one box, the image
``'yolox-s'``                a released network by name, fetched on first use; ``mmhier models`` lists them
``'auto'``                   the default one; if it cannot be had, ``'whole_image'`` with a warning
``'boxes.json'``             from a file: mmhier's own simple format, COCO annotations or COCO results
``'detector.onnx'``          YOLOX, RTMDet or D-FINE through onnxruntime; ``'yolox:detector.onnx'`` and
                             ``'rtmdet:detector.onnx'`` say which, where the file does not
``'torchvision'``            Faster R-CNN of torchvision with its released weights;
                             ``'torchvision:NAME'`` another of its detection models
``'mmdet:CONFIG,WEIGHTS'``   a model of MMDetection
``dict(type=..., ...)``      any of these with all its settings, such as ``dict(type='onnx', path=...)``
a function                   what it returns for an image
===========================  ==========================================================================
"""

import errno
import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from mmhier.detection.box_file import BoxFile
from mmhier.detection.detector import Detector, FunctionDetector, WholeImage
from mmhier.detection.libraries import MMDetDetector, TorchvisionDetector
from mmhier.detection.onnx_detector import FAMILIES, OnnxDetector
from mmhier.suggestions import did_you_mean, similar_path
from mmhier.zoo.choice import AUTO, DEFAULT_DETECTOR
from mmhier.zoo.fetch import fetch_entry
from mmhier.zoo.registry import Weights, read_registry

logger = logging.getLogger('mmhier')

TYPES: dict[str, type] = {
    'whole_image': WholeImage,
    'json': BoxFile,
    'onnx': OnnxDetector,
    'torchvision': TorchvisionDetector,
    'mmdet': MMDetDetector,
}


def _detectors() -> list[str]:
    """Names of released ones."""
    return [name for name, entry in read_registry().items() if entry.kind == 'detector']


EXPECTED = (
    f"expected 'auto', a released detector ({', '.join(_detectors())}), 'whole_image', a .json "
    "file of boxes, an .onnx file of YOLOX, RTMDet or D-FINE, 'torchvision', "
    f"'mmdet:CONFIG,WEIGHTS', a function, or a dict with a type of {', '.join(TYPES)}"
)


def load_detector(
    spec: str | Path | Callable | Mapping, score_threshold: float = 0.3, device: str = 'cpu'
) -> Detector:
    """Make a detector from its name; see the table of this module.

    Args:
        spec: Which one.
        score_threshold: Boxes with a lower score are dropped.
        device: Where a network runs, such as 'cpu' or 'cuda:0'.

    Raises:
        FileNotFoundError: If a file is missing.
        ImportError: If a library is missing; the text says how to install it.
        ValueError: If there is no such detector, or a file is not what it should be.
    """
    if callable(spec):
        return FunctionDetector(spec, score_threshold)
    if spec == AUTO:
        return _default(score_threshold, device)
    given = dict(spec) if isinstance(spec, Mapping) else _parse(spec)
    kind = given.pop('type', None)
    if kind not in TYPES:
        raise _unknown(spec)
    parameters = inspect.signature(TYPES[kind]).parameters
    required = [name for name, one in parameters.items() if one.default is inspect.Parameter.empty]
    if not set(required) <= set(given) <= set(parameters):
        raise ValueError(
            f'detector {spec!r}: type {kind!r} needs {", ".join(required) or "nothing"} and has the settings '
            f'{", ".join(parameters) or "(none)"}'
        )
    general = dict(score_threshold=score_threshold, device=device)
    return TYPES[kind](**{name: value for name, value in general.items() if name in parameters} | given)


def check_detector(spec: str | Path | Callable | Mapping) -> None:
    """Find out whether a detector that is named by a text exists, before anything is loaded or fetched.

    Args:
        spec: See :func:`load_detector`, which checks all that is not a text.

    Raises:
        FileNotFoundError: If it is a file that is not there.
        ValueError: If there is no such detector.
    """
    if callable(spec) or isinstance(spec, Mapping) or spec == AUTO or _released(str(spec)) is not None:
        return
    given = _parse(spec)
    if not given:
        raise _unknown(spec)
    path = given.get('path')
    if path is not None and not Path(path).is_file():
        raise FileNotFoundError(f'detector {spec}: {path} does not exist{similar_path(path)}')


def _unknown(spec: object) -> ValueError:
    names = (AUTO, 'whole_image', 'torchvision', *_detectors())
    hint = did_you_mean(spec.lower(), names) if isinstance(spec, str) else ''
    return ValueError(f'unknown detector {spec!r}{hint or ":"} {EXPECTED}')


def _released(text: str) -> Weights | None:
    """The released detector of a name, in which ``_`` may stand for ``-``."""
    name = text.replace('_', '-')
    return read_registry()[name] if name in _detectors() else None


def _default(score_threshold: float, device: str) -> Detector:
    """The default detector, or the whole image where it cannot be had."""
    try:
        return load_detector(DEFAULT_DETECTOR, score_threshold, device)
    except (OSError, ImportError) as error:
        if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        logger.warning(
            'without boxes and detector the whole image is taken as one person: %s',
            ' '.join(str(error).split()),
        )
        return WholeImage()


def _parse(spec: str | Path) -> dict:
    """Settings from a string; without a type if it is none of those known."""
    text = str(spec)
    prefix, _, rest = text.partition(':')
    if text == 'whole_image':
        return dict(type='whole_image')
    if prefix in FAMILIES and rest:
        return dict(type='onnx', path=rest, family=prefix)
    if prefix == 'torchvision':
        return dict(type='torchvision', **({'name': rest} if rest else {}))
    if prefix == 'mmdet':
        config, _, weights = rest.partition(',')
        return dict(
            type='mmdet', **{key: value for key, value in [('config', config), ('weights', weights)] if value}
        )
    types = {'.json': 'json', '.onnx': 'onnx'}
    suffix = Path(text).suffix.lower()
    if (entry := _released(text)) is not None:
        return dict(type='onnx', path=str(fetch_entry(entry)), family=entry.family)
    return dict(type=types[suffix], path=text) if suffix in types else {}
