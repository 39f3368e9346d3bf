"""Who of a data set of synthetic people stands upright: people that are good to look at."""

from pathlib import Path

import numpy as np

from mmhier.body_models.joint_sets import joint_set
from mmhier.safe_files import read_json, read_npz


def upright_images(annotation_file: Path) -> list[str]:
    """Names of the images that have people, those whose people stand most upright before their camera first.

    Who that is, the data say and not a model: of those who are in the image from head to foot, trunk and legs
    are nearest to the image's vertical, also towards the camera, as a view from the side shows it.

    Args:
        annotation_file: ``person_keypoints_SPLIT.json``, beside which ``smpl_SPLIT.npz`` is.
    """
    split = annotation_file.stem.removeprefix('person_keypoints_')
    truth = read_npz(annotation_file.with_name(f'smpl_{split}.npz'))
    names = {info['id']: info['file_name'] for info in read_json(annotation_file)['images']}
    joints, named = truth['joints3d'], joint_set('smpl24')
    neck, pelvis = joints[:, named.index('neck')], joints[:, named.index('pelvis')]
    ankles = joints[:, named.indices(['left_ankle', 'right_ankle'])].mean(axis=1)
    lines = np.stack([pelvis - neck, ankles - pelvis])
    upright = (lines[..., 1] / np.linalg.norm(lines, axis=-1)).min(axis=0)  # cosines; y points down
    whole = (truth['coco17_2d'][..., 2] > 0).all(axis=1)
    order = np.lexsort((-upright, ~whole))
    return list(dict.fromkeys(Path(names[int(truth['image_id'][row])]).name for row in order))
