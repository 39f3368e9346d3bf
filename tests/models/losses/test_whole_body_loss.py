"""WholeBodyLoss: the official objective, its flags, and what is not supervised."""

import runpy
from pathlib import Path

import pytest
import torch
from mmpose.registry import MODELS

from mmhier.models.heads.smplerx_head import SMPLerXPrediction
from mmhier.models.losses.whole_body_loss import OFFICIAL_WEIGHTS, WholeBodyLoss

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'smplerx_loss.py'))


def case(batch=3, seed=0):
    """Predictions, joints and targets, all in float64, with everything valid in places."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=1.0, shift=0.0):
        return shift + scale * torch.randn(batch, *shape, generator=generator, dtype=torch.float64)

    def flags(*shape):
        return (torch.rand(batch, *shape, generator=generator) < 0.7).double()

    centers = draw(3, 2, scale=20.0, shift=90.0)
    half = 25.0 + draw(3, 1, scale=3.0).abs()
    transl = draw(3, scale=0.1, shift=0.0) + torch.tensor([0.0, 0.0, 40.0], dtype=torch.float64)
    predicted = SMPLerXPrediction(
        draw(3), draw(63), draw(45), draw(45), draw(3), draw(10), draw(10), transl,
        points=draw(65, 3, scale=3.0, shift=8.0),
        box_centers=draw(3, 2), box_sizes=draw(3, 2),
        boxes=torch.cat([centers - half, centers + half], dim=2),
    )  # fmt: skip
    joints = draw(137, 3, scale=0.3) + transl[:, None]
    target = {
        'pose': draw(159), 'pose_valid': flags(159), 'betas': draw(10), 'betas_valid': flags(),
        'expression': draw(10), 'expression_valid': flags(), 'joints_3d': draw(137, 3),
        'joints_3d_valid': flags(137), 'body_joints_3d': draw(137, 3), 'body_joints_3d_valid': flags(137),
        'points': draw(137, 3, scale=2.0, shift=6.0), 'points_valid': flags(137),
        'body_points': draw(137, 3, scale=2.0, shift=6.0), 'body_points_valid': flags(137),
        'box_centers': draw(3, 2), 'box_sizes': draw(3, 2), 'box_valid': flags(3), 'has_depth': flags(),
    }  # fmt: skip
    target['box_valid'][0], target['has_depth'][0], target['has_depth'][-1] = 1.0, 1.0, 0.0
    return predicted, joints, target


def compared(loss, predicted, joints, target):
    """The losses of a case."""
    given = predicted._asdict() | dict(pose=predicted.pose)
    return loss.compare(given | dict(keypoints_3d=joints - predicted.transl.detach()[:, None]), target)


def reference(predicted, joints, target, **options):
    said = {name: value.tolist() for name, value in predicted._asdict().items()} | {
        'pose': predicted.pose.tolist()
    }
    return REFERENCE['objective'](
        said, joints.tolist(), {name: value.tolist() for name, value in target.items()}, **options
    )


def test_equals_the_written_out_objective():
    predicted, joints, target = case()
    found = compared(MODELS.build(dict(type='WholeBodyLoss')), predicted, joints, target)
    expected = reference(predicted, joints, target)
    assert (
        found.keys() == {f'loss_{name}' for name in expected} and expected.keys() == OFFICIAL_WEIGHTS.keys()
    )
    for name, value in expected.items():
        assert value > 0
        torch.testing.assert_close(found[f'loss_{name}'].item(), value, rtol=1e-9, atol=0)


def test_a_batch_without_boxes_of_hands():
    """The other parts have the loss that they have with one; the official way is a flag."""
    predicted, joints, target = case()
    without = target | {'box_valid': target['box_valid'] * torch.tensor([0.0, 0.0, 1.0])}
    found = compared(WholeBodyLoss(), predicted, joints, without)
    whole = compared(WholeBodyLoss(), predicted, joints, target)
    assert whole.keys() - found.keys() == {'loss_left_hand_box', 'loss_right_hand_box'}
    for name, value in found.items():
        torch.testing.assert_close(value, whole[name])
    official = WholeBodyLoss(hand_grids_need_a_box=True)
    expected = reference(predicted, joints, without, to_hands=False)
    for name, value in expected.items():
        torch.testing.assert_close(
            compared(official, predicted, joints, without)[f'loss_{name}'].item(), value, rtol=1e-9, atol=0
        )
    assert compared(official, predicted, joints, without)['loss_points'] != found['loss_points']
    for name, value in compared(official, predicted, joints, target).items():
        torch.testing.assert_close(value, whole[name])


def test_without_the_roots_rotation():
    predicted, joints, target = case()
    found = compared(WholeBodyLoss(root_pose=False), predicted, joints, target)['loss_pose']
    error = (predicted.pose - target['pose']).abs() * target['pose_valid']
    torch.testing.assert_close(found, 10 * error[:, 3:].mean())


def test_what_is_not_valid_has_no_influence():
    predicted, joints, target = case()
    predicted = SMPLerXPrediction(*(value.clone().requires_grad_() for value in predicted))
    loss = WholeBodyLoss()
    expected = compared(loss, predicted, joints, target)
    broken = {name: value.clone() for name, value in target.items()}
    for name in ('pose', 'joints_3d', 'body_joints_3d', 'points', 'body_points'):
        broken[name][target[f'{name}_valid'] == 0] = float('nan')
    for name in ('betas', 'expression'):
        broken[name][target[f'{name}_valid'] == 0] = float('nan')
    for name in ('box_centers', 'box_sizes'):
        broken[name][target['box_valid'] == 0] = float('nan')
    found = compared(loss, predicted, joints, broken)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    sum(found.values()).backward()
    grads = {name: value.grad for name, value in predicted._asdict().items() if value.grad is not None}
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert grads.keys() == set(predicted._fields) - {'boxes'}
    seen = target | {'points': torch.full_like(target['points'], float('nan'))}
    assert compared(loss, predicted, joints, seen)['loss_joints_2d'].isnan()


def test_projection_can_leave_the_body_alone():
    predicted, joints, target = case()
    transl = predicted.transl.clone().requires_grad_()
    body = (joints - predicted.transl[:, None]).requires_grad_()
    for detach in (False, True):
        loss = WholeBodyLoss(dict(joints_2d=1.0), detach_projection=detach)
        given = predicted._asdict() | dict(pose=predicted.pose, transl=transl, keypoints_3d=body)
        found = loss.compare(given, target)['loss_joints_2d']
        to_body, to_place = torch.autograd.grad(found, (body, transl), allow_unused=True)
        assert (to_body is None or not to_body.any()) == detach
        assert to_place.any()


def test_wrong_targets_are_named():
    predicted, joints, target = case()
    loss = WholeBodyLoss()
    with pytest.raises(ValueError, match='unknown losses'):
        WholeBodyLoss(dict(smile=1.0))
    without = {name: value for name, value in target.items() if name != 'box_valid'}
    with pytest.raises(ValueError, match=r'the target lacks "box_valid", \(B, 3\)'):
        compared(loss, predicted, joints, without)
    with pytest.raises(ValueError, match=r'target "points" has shape \(3, 65, 3\), expected \(3, 137, 3\)'):
        compared(loss, predicted, joints, target | {'points': target['points'][:, :65]})
    with pytest.raises(ValueError, match='joint set smplx137'):
        compared(loss, predicted, joints[:, :65], target)
