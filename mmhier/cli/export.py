"""``mmhier export``: write a model for other runtimes, with a proof that it computes the same."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from mmhier.cli.trust import add_trust_option, apply_trust
from mmhier.file_endings import IMAGE_SUFFIXES
from mmhier.safe_files import check_file, read_json

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mmhier.inference.estimators import MeshEstimator, PoseEstimator

FORMATS = ('onnx', 'torchscript', 'exported-program', 'openvino')
INPUTS = ('normalised', 'rgb-float', 'rgb-uint8')
SYNTHETIC = 'synthetic people'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('config', help='config file or name of a pose or mesh model')
    parser.add_argument('checkpoint', help="checkpoint file; 'random': random weights, for timing")
    parser.add_argument('--format', choices=FORMATS, default='onnx', help='default: onnx')
    parser.add_argument('--out', type=Path, help='file (default: <config>.<ending of the format>)')
    parser.add_argument('--dynamic-batch', action='store_true', help='take any number of images at a time')
    parser.add_argument('--fp16', action='store_true', help='half precision')
    parser.add_argument(
        '--int8', type=Path, metavar='DIR', help='int8, with ranges chosen by crops of the images in DIR'
    )
    parser.add_argument('--decode', action='store_true', help='pose: keypoints instead of heatmaps')
    parser.add_argument(
        '--vertices', action='store_true', help='mesh: vertices, with the body model inside of the file'
    )
    parser.add_argument(
        '--input',
        choices=INPUTS,
        default='normalised',
        help='what the file takes (default: normalised images); rgb-*: 0 to 255',
    )
    parser.add_argument(
        '--crops',
        type=Path,
        metavar='DIR',
        help='images of people to compare on (default: those of --int8, else rendered synthetic people)',
    )
    parser.add_argument(
        '--boxes',
        type=Path,
        metavar='JSON',
        help='person boxes of these images in the format of COCO (default: each image is one person)',
    )
    parser.add_argument('--num-crops', type=_positive, default=32, help='crops to use (default: 32)')
    parser.add_argument(
        '--bound', type=float, help='largest mean difference that passes, in pixels or millimetres'
    )
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Export, compare and say so."""
    if args.fp16 and args.int8:
        raise ValueError('--fp16 and --int8 exclude each other')
    apply_trust(args)
    import torch

    from mmhier.deploy import export_model
    from mmhier.deploy.formats import ENDINGS
    from mmhier.inference.estimators import load_estimator

    estimator = load_estimator(args.config, args.checkpoint, 'cpu')
    path = args.out or Path(estimator.name + ENDINGS[args.format])
    images, source = read_crops(estimator, args.crops or args.int8, args.boxes, args.num_crops)
    if args.checkpoint == 'random' and hasattr(estimator.model.head, 'final_layer'):
        torch.nn.init.normal_(estimator.model.head.final_layer.weight)  # heatmaps with peaks to compare
    calibration = None
    if args.int8:
        same = args.crops in (None, args.int8)
        calibration = images if same else read_crops(estimator, args.int8, args.boxes, args.num_crops)[0]
    parity = export_model(
        estimator.model,
        images,
        path,
        args.format,
        decode=args.decode,
        vertices=args.vertices,
        inputs=args.input,
        dynamic_batch=args.dynamic_batch,
        precision='int8' if args.int8 else 'fp16' if args.fp16 else 'float32',
        calibration=calibration,
        bound=args.bound,
        source=source,
        metadata=dict(config=estimator.name, keypoint_names=list(estimator.keypoint_names)),
    )
    files = {path, path.with_suffix('.bin')} if args.format == 'openvino' else {path}
    size = sum(file.stat().st_size for file in files)
    print(f'{path} ({size / 1e6:.1f} MB) computes what the model computes: {parity}')
    print(f'What it takes and returns, and this comparison, stand in {path}.json')
    return 0


def read_crops(
    estimator: 'PoseEstimator | MeshEstimator', folder: Path | None, boxes: Path | None, count: int
) -> tuple['Tensor', str]:
    """Read crops of people.

    Args:
        estimator: The model, which knows its crops.
        folder: Of images, searched with its sub-folders. None renders synthetic people.
        boxes: Boxes in the format of COCO, whose file names end the paths of images. By default an image is a
            person.
        count: Crops at most.

    Returns:
        (B, 3, H, W), normalised, and where they come from.

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: If the boxes are in another format, or of other images.
    """
    from mmhier.inference.crops import make_batch

    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            _render(Path(made), count)
            annotations = Path(made) / 'annotations' / 'person_keypoints_val.json'
            return read_crops(estimator, Path(made) / 'images', annotations, count)[0], SYNTHETIC
    paths = sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise FileNotFoundError(f'{folder} holds no images ({", ".join(sorted(IMAGE_SUFFIXES))})')
    crops = []
    for image, box in _people(paths, boxes):
        crops.append(estimator.crop(image, box))
        if len(crops) == count:
            break
    if not crops:
        raise ValueError(f'{boxes} has no boxes of the images in {folder}')
    images = make_batch(crops, estimator.model.data_preprocessor, 'cpu')
    return images, f'{"boxes of " if boxes else ""}images in {folder.name}'


def _people(paths: list[Path], boxes: Path | None) -> Iterator[tuple['np.ndarray', 'np.ndarray']]:
    """Images (H, W, 3), BGR, and boxes (4,), left, top, right, bottom."""
    import numpy as np

    known: dict[str, list] | None = None if boxes is None else _read_boxes(boxes)
    for path in paths:
        found = [None] if known is None else known.get(path.name, [])
        image = _read_image(path) if found else None
        for box in found:
            left, top, width, height = box or (0, 0, image.shape[1], image.shape[0])
            yield image, np.array([left, top, left + width, top + height], np.float32)


def _read_image(path: Path) -> 'np.ndarray':
    """Image (H, W, 3), BGR."""
    import cv2

    check_file(path)
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV takes
        image = None
    if image is None:
        raise ValueError(f'{path} is not an image that OpenCV reads: remove it from the folder')
    return image


def _read_boxes(path: Path) -> dict[str, list]:
    """Boxes (left, top, width, height) by name of the image, without its folder, however that is written."""
    try:
        content = read_json(path)
        names = {image['id']: PureWindowsPath(image['file_name']).name for image in content['images']}
        found: dict[str, list] = {}
        for annotation in content['annotations']:
            found.setdefault(names[annotation['image_id']], []).append(annotation['bbox'])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not in the format of COCO (images, annotations): {error!r}') from error
    return found


def _render(folder: Path, count: int) -> None:
    from mmhier.datasets.synthetic.generator import generate

    generate(folder, 0, count, 1, (320, 256), 'simple', 1)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {value}')
    return value
