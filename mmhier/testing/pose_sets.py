"""Tiny stand-ins for the data sets of ``configs/_base_/datasets/many_256x192.py`` in their places."""

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

# COCO-WholeBody: field of an annotation -> its keypoints, after the 17 of the body.
_PARTS = dict(foot_kpts=6, face_kpts=68, lefthand_kpts=21, righthand_kpts=21)
_PICTURE_HW = (120, 100)
_MPII_JOINTS = 16


def write_pose_sets(folder: Path, sets: Mapping[str, Mapping], keypoints: Mapping[str, int], people: int = 2):
    """Write annotations, pictures, detected boxes and head sizes.

    Args:
        folder: What the paths in the config are relative to.
        sets: ``train_sets`` or ``val_sets`` of the config.
        keypoints: Number of keypoints of each data set.
        people: One per picture.
    """
    rng = np.random.default_rng(0)
    for name, described in sets.items():
        root = folder / described['data_root']
        pictures = root / described['data_prefix']['img']
        names = [f'{number:09d}.jpg' for number in range(1, people + 1)]
        pictures.mkdir(parents=True, exist_ok=True)
        for file in names:
            cv2.imwrite(str(pictures / file), rng.integers(0, 255, (*_PICTURE_HW, 3), np.uint8))
        points = [_points(rng, keypoints[name]) for _ in names]
        path = root / described['ann_file']
        path.parent.mkdir(parents=True, exist_ok=True)
        if described['type'] == 'MpiiDataset':
            _write_mpii(folder, path, described, names, points)
            continue
        content = _coco(names, points, name == 'wholebody')
        path.write_text(json.dumps(content))
        if described.get('bbox_file'):
            boxes = [
                dict(image_id=one['image_id'], category_id=1, bbox=one['bbox'], score=0.9)
                for one in content['annotations']
            ]
            file = folder / described['bbox_file']
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(boxes))


def _points(rng: np.random.Generator, count: int) -> np.ndarray:
    """(K, 2) inside the picture."""
    height, width = _PICTURE_HW
    return rng.uniform((0.2 * width, 0.2 * height), (0.8 * width, 0.8 * height), (count, 2))


def _coco(names: list[str], people: list[np.ndarray], whole_body: bool) -> dict:
    images, annotations = [], []
    for number, (file, points) in enumerate(zip(names, people, strict=True), 1):
        sizes = dict(height=_PICTURE_HW[0], width=_PICTURE_HW[1])
        images.append(dict(id=number, file_name=file, crowdIndex=0.5, **sizes))
        low, high = points.min(0) - 3, points.max(0) + 3
        width, height = (high - low).tolist()
        labelled = np.column_stack([points, np.full(len(points), 2)])
        fields = {}
        if whole_body:
            ends = np.cumsum([17, *_PARTS.values()])[:-1]
            body, *parts = np.split(labelled, ends)
            fields = {field: part.ravel().tolist() for field, part in zip(_PARTS, parts, strict=True)}
            labelled = body
        annotations.append(
            dict(
                id=number,
                image_id=number,
                category_id=1,
                iscrowd=0,
                num_keypoints=len(labelled),
                keypoints=labelled.ravel().tolist(),
                bbox=[*low.tolist(), width, height],
                area=width * height,
                segmentation=[],
                **fields,
            )
        )
    return dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')])


def _write_mpii(
    folder: Path, path: Path, described: Mapping, names: list[str], people: list[np.ndarray]
) -> None:
    from scipy.io import savemat

    entries = [
        dict(
            image=file,
            center=[_PICTURE_HW[1] / 2, _PICTURE_HW[0] / 2],
            scale=0.4,
            joints=points.tolist(),
            joints_vis=[1] * _MPII_JOINTS,
        )
        for file, points in zip(names, people, strict=True)
    ]
    path.write_text(json.dumps(entries))
    if described.get('headbox_file'):
        boxes = np.tile(np.array([[40.0, 20.0], [60.0, 40.0]])[:, :, None], (1, 1, len(names)))
        savemat(folder / described['headbox_file'], dict(headboxes_src=boxes))
