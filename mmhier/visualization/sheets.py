"""Pictures of many people beside each other: what a model has predicted on a data set."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from mmhier.safe_files import read_json
from mmhier.visualization.skeleton import contact_sheet, draw_skeleton

CELL_HW = (208, 260)  # of each picture of a person
SHEET_COLUMNS, SHEET_ROWS = 2, 7
PAIR_COLUMNS = 3


def draw_predictions(
    annotation_file: Path, image_dir: Path, prediction_file: Path, panels: Path | None = None
) -> np.ndarray:
    """Draw what was predicted on the first images of a COCO-format set on a contact sheet (BGR).

    Args:
        annotation_file: The set.
        image_dir: Its images.
        prediction_file: Keypoints, in COCO's results format.
        panels: Pictures of meshes by :class:`mmhier.visualization.mesh_hook.MeshVisualizationHook`. Their
            overlay and side view are put beside the skeletons.
    """
    annotations = read_json(annotation_file)
    category = annotations['categories'][0]
    links = [(a - 1, b - 1) for a, b in category['skeleton']]
    predictions: dict[int, list[np.ndarray]] = {}
    for prediction in read_json(prediction_file):
        keypoints = np.reshape(prediction['keypoints'], (-1, 3))
        predictions.setdefault(prediction['image_id'], []).append(keypoints)
    columns = SHEET_COLUMNS if panels else 3 * SHEET_COLUMNS
    pictures = []
    for info in annotations['images'][: columns * SHEET_ROWS]:
        file = image_dir / Path(info['file_name']).name
        image = cv2.imread(str(file))
        size_wh = (CELL_HW[1], round(CELL_HW[1] * image.shape[0] / image.shape[1]))
        scale = size_wh[0] / image.shape[1]
        picture = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
        for keypoints in predictions.get(info['id'], []):
            picture = draw_skeleton(
                picture, keypoints[:, :2] * scale, keypoints[:, 2], category['keypoints'], links
            )
        if panels:
            meshes = cv2.imread(str(panels / f'{file.stem}.jpg'))[:, image.shape[1] :]
            meshes = cv2.resize(meshes, (2 * size_wh[0], size_wh[1]), interpolation=cv2.INTER_AREA)
            picture = np.concatenate([picture, meshes], axis=1)
        pictures.append(picture)
    width = pictures[0].shape[1]
    return contact_sheet(pictures, columns, (CELL_HW[0], width))


def pair_sheet(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """A contact sheet (BGR) of pairs of pictures of the same height, such as overlays and side views."""
    height, width = CELL_HW
    pictures = [np.concatenate(pair, axis=1) for pair in pairs]
    return contact_sheet(pictures, PAIR_COLUMNS, (height, 2 * width))
