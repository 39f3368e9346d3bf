"""Crops of people to compare exported models on, or to calibrate them with: from a folder, or rendered."""

import tempfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import cv2
import numpy as np
from torch import Tensor

from mmhier.file_endings import IMAGE_SUFFIXES
from mmhier.inference.crops import make_batch
from mmhier.inference.estimators import MeshEstimator, PoseEstimator
from mmhier.safe_files import check_file, read_json

SYNTHETIC = 'synthetic people'


def read_crops(
    estimator: PoseEstimator | MeshEstimator, folder: Path | None, boxes: Path | None, count: int
) -> tuple[Tensor, str]:
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


def _people(paths: list[Path], boxes: Path | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images (H, W, 3), BGR, and boxes (4,), left, top, right, bottom."""
    known: dict[str, list] | None = None if boxes is None else _read_boxes(boxes)
    for path in paths:
        found = [None] if known is None else known.get(path.name, [])
        image = _read_image(path) if found else None
        for box in found:
            left, top, width, height = box or (0, 0, image.shape[1], image.shape[0])
            yield image, np.array([left, top, left + width, top + height], np.float32)


def _read_image(path: Path) -> np.ndarray:
    """Image (H, W, 3), BGR."""
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
