"""Errors of bodies by hand, by invariance, and where there is nothing to judge."""

import math

import pytest
import torch

from mmhier.evaluation.functional.mesh import (
    mpjpe,
    normalized_distances,
    pa_mpjpe,
    pck,
    phi_mesh_2d,
    phi_mesh_3d,
    pve,
    relative_to_joint,
)
from mmhier.geometry.rotations import axis_angle_to_matrix

NAN, INF = float('nan'), float('inf')


def test_mpjpe_by_hand():
    predicted = torch.tensor([[[0.003, 0.004, 0.0], [0.0, 0.0, 0.001]]])
    target = torch.zeros(1, 2, 3)
    assert mpjpe(predicted, target).item() == pytest.approx(3.0)  # (5 + 1) / 2
    assert mpjpe(predicted, target, torch.tensor([[True, False]])).item() == pytest.approx(5.0)
    assert pve(predicted, target).item() == pytest.approx(3.0)


def test_relative_to_joint_or_hips():
    joints = torch.tensor([[[1.0, 0, 0], [3.0, 0, 0], [5.0, 1.0, 0]]])
    assert relative_to_joint(joints, joints, 1)[0, :, 0].tolist() == [-2, 0, 2]
    assert relative_to_joint(joints, joints, (0, 1))[0, :, 0].tolist() == [-1, 1, 3]
    vertices = torch.randn(1, 7, 3)
    assert torch.allclose(relative_to_joint(vertices, joints, 2), vertices - joints[:, 2:])


def test_mpjpe_ignores_where_the_body_is_once_it_is_centred():
    predicted, target = torch.randn(4, 44, 3).double(), torch.randn(4, 44, 3).double()
    expected = mpjpe(*(relative_to_joint(points, points, 39) for points in (predicted, target)))
    predicted = predicted + torch.tensor([1.0, -3.0, 40.0])
    found = mpjpe(*(relative_to_joint(points, points, 39) for points in (predicted, target)))
    assert torch.allclose(found, expected)


def test_pa_mpjpe_ignores_similarities():
    predicted, target = torch.randn(5, 14, 3).double(), torch.randn(5, 14, 3).double()
    expected = pa_mpjpe(predicted, target)
    rotation = axis_angle_to_matrix(torch.randn(5, 3).double())
    scale = torch.rand(5, 1, 1).double() + 0.2
    changed = scale * predicted @ rotation.mT + torch.randn(5, 1, 3)
    assert torch.allclose(pa_mpjpe(changed, target), expected)
    assert (pa_mpjpe(scale * target @ rotation.mT, target) < 1e-9).all()
    assert (expected < mpjpe(predicted, target)).all()


def test_pa_mpjpe_aligns_to_valid_joints_only():
    predicted, target = torch.randn(3, 14, 3).double(), torch.randn(3, 14, 3).double()
    valid = torch.ones(3, 14, dtype=torch.bool)
    valid[:, [2, 9]] = False
    kept = [joint for joint in range(14) if joint not in (2, 9)]
    expected = pa_mpjpe(predicted[:, kept], target[:, kept])
    predicted[:, 2], target[:, 9] = NAN, 1e6
    assert torch.allclose(pa_mpjpe(predicted, target, valid), expected)


@pytest.mark.parametrize('error', [mpjpe, pa_mpjpe, pve])
def test_batch_is_a_loop_of_singles(error):
    predicted, target = torch.randn(6, 14, 3), torch.randn(6, 14, 3)
    singles = [error(predicted[i : i + 1], target[i : i + 1]) for i in range(6)]
    assert torch.allclose(error(predicted, target), torch.cat(singles), atol=1e-9)


@pytest.mark.parametrize('error', [mpjpe, pa_mpjpe])
def test_nothing_is_dropped_silently(error):
    """A body without ground truth and one with a broken prediction are NaN, the others are not touched."""
    predicted, target = torch.randn(3, 14, 3), torch.randn(3, 14, 3)
    valid = torch.ones(3, 14, dtype=torch.bool)
    expected = error(predicted, target)
    valid[0] = False
    predicted[1, 4, 2] = NAN
    found = error(predicted, target, valid)
    assert found[:2].isnan().all() and found[2] == expected[2]


def test_pa_mpjpe_of_a_collapsed_prediction_is_finite():
    assert pa_mpjpe(torch.zeros(1, 14, 3), torch.randn(1, 14, 3)).isfinite().all()


def test_pck_by_hand():
    target = torch.zeros(4, 3, 2)
    predicted = torch.zeros(4, 3, 2)
    predicted[:, 0, 0] = torch.tensor([0.0, 4.9, 5.0, 30.0])
    predicted[:, 1, 1] = 7.0
    confidence = torch.tensor([[1.0, 1.0, 0.5], [1.0, 0.4, 0.0], [0.6, 1.0, 0.0], [1.0, 1.0, 0.0]])
    distances = normalized_distances(predicted, target, confidence, torch.full((4,), 100.0))
    assert distances[1].tolist() == pytest.approx([0.049, NAN, NAN], nan_ok=True)
    found = pck(distances, 0.05)
    assert found.per_joint.tolist() == pytest.approx([0.5, 0.0, NAN], nan_ok=True)
    assert found.count.tolist() == [4, 3, 0] and found.mean == pytest.approx(0.25)
    assert pck(distances, 0.1).mean == pytest.approx((0.75 + 1.0) / 2)


def test_pck_measures_in_parts_of_each_box():
    predicted, target = torch.rand(5, 4, 2), torch.rand(5, 4, 2)
    confidence, length = torch.ones(5, 4), torch.rand(5) + 0.5
    zoom = torch.rand(5) + 0.5
    expected = normalized_distances(predicted, target, confidence, length)
    zoomed = [points * zoom[:, None, None] for points in (predicted, target)]
    assert torch.allclose(normalized_distances(*zoomed, confidence, length * zoom), expected)


def test_broken_prediction_is_a_miss():
    predicted = torch.tensor([[[NAN, 0.0]], [[0.0, INF]], [[0.0, 0.0]]])
    distances = normalized_distances(predicted, torch.zeros(3, 1, 2), torch.ones(3, 1), torch.ones(3))
    assert distances.flatten().tolist() == [INF, INF, 0]
    assert pck(distances, 0.05).mean == pytest.approx(1 / 3)


def test_nothing_visible_is_nan():
    distances = normalized_distances(
        torch.zeros(2, 3, 2), torch.zeros(2, 3, 2), torch.zeros(2, 3), torch.ones(2)
    )
    found = pck(distances, 0.05)
    assert math.isnan(found.mean) and found.count.tolist() == [0, 0, 0]


def test_unified_scores_by_hand():
    errors = {'3DPW': (80.0, 50.0), 'Human3.6M': (50.0, 30.0)}
    assert phi_mesh_3d(errors) == pytest.approx((65 + 40) / 2)
    scores = {'LSP-Extended': (0.5, 0.8), 'COCO': (0.8, 0.9), 'PoseTrack': (0.9, 1.0)}
    assert phi_mesh_2d(scores) == pytest.approx((0.65 + 0.85 + 0.95) / 3)
    for phi in (phi_mesh_2d, phi_mesh_3d):
        with pytest.raises(ValueError, match='at least one data set'):
            phi({})


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: mpjpe(torch.zeros(2, 14, 3), torch.zeros(2, 17, 3)), r'\(2, 14, 3\) and \(2, 17, 3\)'),
        (lambda: pa_mpjpe(torch.zeros(14, 3), torch.zeros(14, 3)), r'shape \(B, K, D\)'),
        (lambda: mpjpe(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3), torch.ones(2, 4)), 'one bool per joint'),
        (
            lambda: normalized_distances(
                torch.zeros(2, 4, 2), torch.zeros(2, 4, 2), torch.ones(2, 4), torch.tensor([1.0, 0.0])
            ),
            'reference_length must be 2 positive numbers',
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
