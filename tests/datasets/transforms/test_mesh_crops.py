"""Extreme crops: the right part for each chance, boxes around the joints that are kept."""

import numpy as np
import pytest

from mmhier.datasets.transforms.mesh_crops import PARTS, UPPER_BODY, WHOLE_BODY, choose_part, part_box
from mmhier.mesh_sample import SMPL_LAYOUT

JOINTS = SMPL_LAYOUT.joints

# How many of the 44 joints the official code keeps for each part.
NUM_KEPT = {
    'above the knees': 30, 'shoulders': 14, 'head': 12, 'torso': 14, 'right arm': 6, 'left arm': 6,
    'legs': 20, 'right leg': 9, 'left leg': 9,
}  # fmt: skip


def person(*names, seed=0):
    """All joints somewhere; confidence for those named, or for all."""
    rng = np.random.default_rng(seed)
    keypoints = np.hstack([rng.uniform(0, 200, (44, 2)), np.zeros((44, 1))])
    keypoints[JOINTS.indices(names) if names else slice(None), 2] = 1
    return keypoints


def test_parts_have_the_official_joints():
    assert {part: len(set(names)) for part, (names, _) in PARTS.items()} == NUM_KEPT


def test_chances_of_the_whole_body():
    chosen = [choose_part(person(), chance) for chance in np.arange(0.05, 1, 0.1)]
    first = ['above the knees'] * 2
    assert chosen == first + [part for _, part in WHOLE_BODY[1:]]


def test_chances_of_the_upper_body():
    keypoints = person('nose', 'neck', 'left_shoulder')
    assert [choose_part(keypoints, chance) for chance in (0.1, 0.3, 0.5, 0.7, 0.9)] == [
        p for _, p in UPPER_BODY
    ]


@pytest.mark.parametrize('names', [('nose',), ('nose', 'neck', 'left_knee'), ('left_shoulder', 'left_elbow')])
def test_others_keep_their_box(names):
    assert choose_part(person(*names), 0.5) is None


def test_either_set_of_joints_makes_a_whole_body():
    limbs = [f'{side}_{part}' for side in ('left', 'right') for part in ('elbow', 'wrist', 'knee', 'ankle')]
    shoulders = ['left_shoulder_lsp', 'right_shoulder_lsp']
    assert choose_part(person(*limbs, *shoulders), 0.95) == 'left leg'
    assert choose_part(person(*limbs, shoulders[0]), 0.95) is None


@pytest.mark.parametrize('part', list(PARTS))
def test_box_surrounds_the_part(part):
    keypoints = person(seed=7)
    center, side = part_box(keypoints, part)
    names, factor = PARTS[part]
    points = keypoints[JOINTS.indices(names), :2]
    extent = np.ptp(points, axis=0).max()
    assert side == pytest.approx(1.2 * factor * extent)
    assert (np.abs(points - center) <= side / 2).all()


def test_no_box_without_joints_or_of_no_size():
    assert part_box(person('nose'), 'left leg') is None
    tiny = person()
    tiny[:, :2] /= 100
    assert part_box(tiny, 'head') is None
