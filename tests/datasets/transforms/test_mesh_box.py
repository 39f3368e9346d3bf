"""Boxes of crops: deterministic ones, and the spread of the random ones."""

import numpy as np
import pytest

from mmhier.datasets.transforms.mesh_box import MeshBox, RandomMeshBox, square_side
from mmhier.datasets.transforms.mesh_crops import part_box


def results(seed=0):
    rng = np.random.default_rng(seed)
    keypoints = np.hstack([rng.uniform(0, 200, (44, 2)), np.ones((44, 1))])
    return dict(center=np.array([100, 80], np.float32), scale=np.array([60, 100], np.float32),
                keypoints_2d=keypoints, rng=rng)  # fmt: skip


def test_square_of_a_box():
    assert square_side(np.array([60, 100])) == 100
    assert square_side(np.array([90, 100]), (192, 256)) == 120
    assert square_side(np.array([30, 100]), (192, 256)) == 100


def test_evaluation_enlarges_to_the_input_and_moves_nothing():
    made = MeshBox().transform(results() | dict(scale=np.array([90, 100], np.float32)))
    assert made['box_size'] == 120
    assert (made['box_center'] == [100, 80]).all()
    assert (made['box_rotation'], made['flip']) == (0.0, False)


def test_random_boxes_have_the_official_spread():
    step = RandomMeshBox(extreme_crop_chance=0)
    made = [step.transform(results(seed)) for seed in range(2000)]
    sizes = np.array([one['box_size'] for one in made])
    shifts = np.array([one['box_center'] for one in made]) - [100, 80]
    rotations = np.array([one['box_rotation'] for one in made])
    assert sizes.min() == pytest.approx(70)
    assert sizes.max() == pytest.approx(130)
    assert np.abs(shifts).max() == pytest.approx(2, abs=1e-4)
    assert np.abs(rotations).max() == pytest.approx(60)
    assert (rotations != 0).mean() == pytest.approx(0.6, abs=0.04)
    assert np.mean([one['flip'] for one in made]) == pytest.approx(0.5, abs=0.04)


def test_extreme_crops_replace_the_box():
    steady = dict(shift=0, scale=0, rotation_chance=0, flip_chance=0)
    made = [RandomMeshBox(extreme_crop_chance=0.25, **steady).transform(results(seed)) for seed in range(400)]
    changed = [one for one in made if one['box_size'] != 100]
    assert len(changed) / len(made) == pytest.approx(0.25, abs=0.06)
    legs = part_box(changed[0]['keypoints_2d'], 'legs')
    assert legs is not None
    one = RandomMeshBox(extreme_crop_chance=1, **steady).transform(results(1))
    keypoints, side = one['keypoints_2d'], one['box_size']
    inside = np.abs(keypoints[:, :2] - one['box_center']) <= side / 2
    assert inside.all(1).sum() >= 6


def test_same_random_numbers_same_box():
    first, second = (RandomMeshBox().transform(results(11)) for _ in range(2))
    assert first['box_size'] == second['box_size']
    assert first['box_rotation'] == second['box_rotation']
