"""Errors of whole bodies by hand and by what must not change them."""

import dataclasses

import numpy as np
import pytest
import torch

from mmhier.body_models.model_directory import load_body_data
from mmhier.evaluation.functional.whole_body import (
    SKELETON14,
    in_image,
    skeleton_errors,
    whole_body_errors,
    whole_body_points,
)
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.testing.smplx_file import write_smplx_npz

COUNT = 120
PARTS = {'left_hand': range(20), 'right_hand': range(20, 40), 'face': range(40, 70)}


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('body') / 'body.npz'
    write_smplx_npz(path, num_vertices=COUNT, num_faces=100)
    parts = {part: np.array(rows) for part, rows in PARTS.items()}
    return dataclasses.replace(load_body_data(path), parts=parts)


@pytest.fixture(scope='module')
def points(model):
    j14 = np.full((14, COUNT), 1 / COUNT, np.float32)
    return whole_body_points(dataclasses.replace(model, regressors=model.regressors | {'j14': j14}))


@pytest.fixture
def target():
    return torch.randn(3, COUNT, 3, generator=torch.Generator().manual_seed(0)).double()


def test_by_hand(points, target):
    """With all roots at the last vertex: the left hand 10 mm off, one of two face vertices 6 mm."""
    pinned = dataclasses.replace(
        points,
        skeleton=torch.eye(COUNT)[[-1] * 55],
        hands={'left_hand': torch.eye(COUNT)[:2], 'right_hand': torch.eye(COUNT)[20:22]},
        body=torch.eye(COUNT)[:4],
    )
    predicted = target.clone()
    predicted[:, :20, 0] += 0.01
    predicted[:, 40:55, 2] -= 0.006
    errors = whole_body_errors(predicted, target, pinned)
    assert errors['PVE hands'].tolist() == pytest.approx([5] * 3)  # 10 and 0
    assert errors['PVE face'].tolist() == pytest.approx([3] * 3)
    assert errors['PVE'].tolist() == pytest.approx([(20 * 10 + 15 * 6) / COUNT] * 3)
    assert errors['MPJPE hands'].tolist() == pytest.approx([5] * 3)
    assert errors['MPJPE body'].tolist() == pytest.approx([10] * 3)
    assert (errors['PA-PVE hands'] < 1e-6).all() and (errors['PA-MPJPE body'] < 1e-6).all()
    assert (errors['PA-PVE face'] > 1).all() and (errors['PA-PVE face'] < 3).all()
    # The root itself is wrong: everything else is.
    predicted = target.clone()
    predicted[:, -1, 1] += 0.02
    assert whole_body_errors(predicted, target, pinned)['PVE'].tolist() == pytest.approx([20 * 119 / 120] * 3)


def test_each_part_has_its_own_root_and_similarity(points, target):
    """A hand that is turned as a whole is right after alignment, and so is the face, but not the body."""
    turn = axis_angle_to_matrix(torch.tensor([0.3, -0.2, 0.5]).double())
    predicted = target.clone()
    for part in PARTS.values():
        predicted[:, list(part)] = 1.3 * predicted[:, list(part)] @ turn.T + 0.1
    errors = whole_body_errors(predicted, target, points)
    for name in ('PA-PVE hands', 'PA-PVE face'):
        assert (errors[name] < 1e-6).all()
    for name in ('PA-PVE', 'PVE hands', 'PVE face'):
        assert (errors[name] > 10).all()


def test_where_a_body_stands_does_not_matter(points, target):
    predicted = target + 0.02 * torch.randn(3, COUNT, 3, generator=torch.Generator().manual_seed(1))
    errors = whole_body_errors(predicted, target, points)
    shifted = whole_body_errors(predicted + torch.tensor([1.0, -2, 30]), target, points)
    assert len(errors) == 10
    for name, value in errors.items():
        assert torch.allclose(value, shifted[name], atol=1e-3)
        assert (errors[name] > 0).all() and (
            name.startswith('PA') or (errors[f'PA-{name}'] <= value + 1).all()
        )
    turned = 0.7 * predicted @ axis_angle_to_matrix(torch.tensor([0.0, 1.0, 0.4])).double().T
    for name, value in whole_body_errors(turned, target, points).items():
        assert torch.allclose(value, errors[name], atol=1e-6) == name.startswith('PA')


def test_batch_is_a_loop_of_singles(points, target):
    predicted = target.flip(0)
    whole = whole_body_errors(predicted, target, points)
    for number in range(3):
        rows = slice(number, number + 1)
        for name, value in whole_body_errors(predicted[rows], target[rows], points).items():
            assert torch.allclose(value, whole[name][rows])


def test_only_what_is_inside_of_the_image_is_judged(points, target):
    """Vertices outside are aligned with, not judged; a hand that is outside leaves the other one's error."""
    target[..., 0] = target[..., 0].abs()
    target[0, :20, 0] *= -1
    predicted = target.clone()
    predicted[0, 0] += 100
    predicted[0, 25, 1] += 0.02

    def inside(values):
        return values[..., 0] > 0

    errors = whole_body_errors(predicted, target, points, inside)
    everything = whole_body_errors(predicted, target, points)
    assert everything['PVE hands'][0] > 1000
    root = (points.skeleton.double() @ (predicted - target))[0, 21]  # the right wrist's own error
    right = (predicted - target)[0, 20:40] - root
    assert errors['PVE hands'][0].item() == pytest.approx(1000 * right.norm(dim=1).mean().item())
    nobody = whole_body_errors(predicted, target, points, lambda values: values[..., 0] > 1e9)
    assert all(value.isnan().all() for value in nobody.values())


def test_prediction_that_is_not_finite_is_not_overlooked(points, target):
    predicted = target.clone()
    predicted[1, 5] = torch.nan  # of the left hand
    errors = whole_body_errors(predicted, target, points)
    for name in ('PVE', 'PA-PVE', 'PVE hands', 'PA-PVE hands', 'MPJPE hands'):
        assert errors[name].isnan().tolist() == [False, True, False]


def test_convention_hands_go_from_wrist_to_tips(model):
    """Rows: wrist, then thumb, index, middle, ring, little finger, each from palm to tip."""
    points = whole_body_points(model)
    for side, tips, first in (('left_hand', 0, 25), ('right_hand', 5, 40)):
        matrix = points.hands[side].numpy()
        assert matrix.shape == (21, COUNT)
        np.testing.assert_array_equal(matrix[[4, 8, 12, 16, 20]], model.regressors['tips'][tips : tips + 5])
        joints = np.concatenate(
            [np.arange(first + offset, first + offset + 3) for offset in (12, 0, 3, 9, 6)]
        )
        rows = [row for row in range(1, 21) if row % 4]
        np.testing.assert_array_equal(matrix[rows], model.J_regressor[joints])
    assert points.body is None


def test_skeletons_of_smpl_and_smplx(points):
    joints = torch.randn(2, 24, 3, generator=torch.Generator().manual_seed(3)).double()
    pinned = dataclasses.replace(points, skeleton=torch.eye(COUNT)[:55])
    vertices = torch.zeros(2, COUNT, 3).double()
    vertices[:, :24] = joints + torch.tensor([0.3, 0, 1])
    vertices[:, 3] += 9  # no joint of the 14
    errors = skeleton_errors(vertices, joints, pinned)
    assert (errors['MPJPE'] < 1e-6).all() and (errors['PA-MPJPE'] < 1e-6).all()
    vertices[:, 20, 1] += 0.14  # left wrist
    assert skeleton_errors(vertices, joints, pinned)['MPJPE'].tolist() == pytest.approx([10, 10])
    assert len(SKELETON14) == 14


def test_inside_the_image_by_hand():
    pixels = torch.tensor([[[1.0, 1], [0, 5], [9.5, 7.5], [10, 3], [3, 8], [torch.nan, 1]]])
    assert in_image(pixels, torch.tensor([[10.0, 8]])).tolist() == [[True, False, True, False, False, False]]


def test_what_a_body_lacks_is_named(model):
    with pytest.raises(ValueError, match='right_hand is not known.*MANO_SMPLX_vertex_ids.pkl'):
        parts = {part: rows for part, rows in model.parts.items() if part != 'right_hand'}
        whole_body_points(dataclasses.replace(model, parts=parts))
    with pytest.raises(ValueError, match='no points at the tips'):
        whole_body_points(dataclasses.replace(model, regressors={}))
    with pytest.raises(ValueError, match='24 joints, not those of SMPL-X'):
        whole_body_points(load_body_data('open'))
