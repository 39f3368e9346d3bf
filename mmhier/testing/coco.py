"""A COCO-format data set that a tiny network learns within seconds: keypoints are coloured dots."""

import colorsys
import json
from pathlib import Path

import cv2
import numpy as np

KEYPOINTS = (
    'nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow '
    'left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle'
).split()
# A standing figure in units of its own height: x to the right, y down; the person faces the viewer.
_FIGURE = np.array(
    [(0, .06), (.02, .04), (-.02, .04), (.05, .05), (-.05, .05), (.1, .18), (-.1, .18), (.15, .33),
     (-.15, .33), (.16, .48), (-.16, .48), (.07, .5), (-.07, .5), (.08, .73), (-.08, .73), (.09, .95),
     (-.09, .95)]
)  # fmt: skip


def write_dot_people(
    folder: str | Path, split: str, images: int, seed: int = 0, image_hw: tuple[int, int] = (120, 100)
) -> Path:
    """Write ``images`` pictures of one dot person each, in the layout of ``mmhier synth``.

    Args:
        folder: Root of the data set; several splits may share it.
        split: ``'train'`` or ``'val'``.
        images: How many.
        seed: Random seed.
        image_hw: Height and width of a picture in pixels.

    Returns:
        The annotation file.
    """
    folder = Path(folder)
    picture_dir = folder / 'images' / split
    picture_dir.mkdir(parents=True, exist_ok=True)
    (folder / 'annotations').mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    infos, annotations = [], []
    for index in range(1, images + 1):
        size = rng.uniform(0.6, 0.9) * image_hw[0]
        offset = rng.uniform((0.4, 0.02), (0.6, 0.08)) * image_hw[::-1]
        points = offset + size * (_FIGURE + rng.normal(0, 0.015, _FIGURE.shape))
        picture = np.full((*image_hw, 3), rng.integers(0, 60), np.uint8)
        for part, point in enumerate(points):
            color = [255 * channel for channel in colorsys.hsv_to_rgb(part / len(points), 1, 1)]
            cv2.circle(picture, tuple(np.round(point).astype(int).tolist()), 2, color, -1, cv2.LINE_AA)
        name = f'{index:06d}.png'
        cv2.imwrite(str(picture_dir / name), picture)
        infos.append(dict(id=index, file_name=name, height=image_hw[0], width=image_hw[1]))
        low, high = points.min(0) - 3, points.max(0) + 3
        width, height = (high - low).tolist()
        annotations.append(
            dict(
                id=index,
                image_id=index,
                category_id=1,
                iscrowd=0,
                num_keypoints=len(points),
                keypoints=np.column_stack([points, np.full(len(points), 2)]).ravel().tolist(),
                bbox=[*low.tolist(), width, height],
                area=width * height,
            )
        )
    category = dict(id=1, name='person', supercategory='person', keypoints=KEYPOINTS, skeleton=[])
    path = folder / 'annotations' / f'person_keypoints_{split}.json'
    path.write_text(json.dumps(dict(images=infos, annotations=annotations, categories=[category])))
    return path
