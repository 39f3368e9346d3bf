"""Losses of HMR2.0: values by hand, the official reductions, and who is supervised."""

import pytest
import torch
from mmpose.registry import MODELS

from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.models.losses.mesh_losses import (
    OFFICIAL_WEIGHTS,
    BodyParameterLoss,
    Keypoint2DLoss,
    Keypoint3DLoss,
    MeshLoss,
)
from mmhier.models.losses.pose_discriminator import AdversarialLoss

NAN = float('nan')
JOINTS = 44


def batch(bodies=6):
    """Predictions that want gradients, and fully supervised targets."""
    predicted = dict(
        keypoints_2d=torch.randn(bodies, JOINTS, 2),
        keypoints_3d=torch.randn(bodies, JOINTS, 3),
        global_orient=axis_angle_to_matrix(torch.randn(bodies, 1, 3)),
        body_pose=axis_angle_to_matrix(torch.randn(bodies, 23, 3)),
        betas=torch.randn(bodies, 10),
    )
    target = dict(
        keypoints_2d=torch.randn(bodies, JOINTS, 2),
        keypoints_2d_confidence=torch.rand(bodies, JOINTS) + 0.1,
        keypoints_3d=torch.randn(bodies, JOINTS, 3),
        keypoints_3d_confidence=torch.rand(bodies, JOINTS) + 0.1,
        global_orient=torch.randn(bodies, 1, 3),
        has_global_orient=torch.ones(bodies, dtype=torch.bool),
        body_pose=torch.randn(bodies, 23, 3),
        has_body_pose=torch.ones(bodies, dtype=torch.bool),
        betas=torch.randn(bodies, 10),
        has_betas=torch.ones(bodies, dtype=torch.bool),
    )
    return {key: value.requires_grad_() for key, value in predicted.items()}, target


def plain_losses(predicted, target):
    """The official formulas, body by body and number by number."""
    sums = dict.fromkeys(OFFICIAL_WEIGHTS, 0.0)
    for body in range(len(predicted['betas'])):
        for name, root in (('keypoints_2d', None), ('keypoints_3d', 39)):
            ours, theirs = predicted[name][body].tolist(), target[name][body].tolist()
            confidence = target[f'{name}_confidence'][body].tolist()
            for joint in range(JOINTS):
                for axis in range(len(ours[0])):
                    difference = ours[joint][axis] - theirs[joint][axis]
                    if root is not None:
                        difference -= ours[root][axis] - theirs[root][axis]
                    sums[name] += confidence[joint] * abs(difference)
        for name in ('global_orient', 'body_pose', 'betas'):
            truth = target[name][body]
            truth = axis_angle_to_matrix(truth) if name != 'betas' else truth
            for a, b in zip(predicted[name][body].flatten().tolist(), truth.flatten().tolist(), strict=True):
                sums[name] += float(target[f'has_{name}'][body]) * (a - b) ** 2
    return {f'loss_{name}': OFFICIAL_WEIGHTS[name] * value for name, value in sums.items()}


def test_official_sums():
    predicted, target = batch(3)
    target['has_body_pose'][1] = False
    found = MODELS.build(dict(type='MeshLoss'))(predicted, target)
    assert list(found) == [f'loss_{name}' for name in OFFICIAL_WEIGHTS]
    for name, expected in plain_losses(predicted, target).items():
        assert found[name].item() == pytest.approx(expected, rel=1e-5)


def test_official_weights():
    published = dict(keypoints_2d=0.01, keypoints_3d=0.05, global_orient=0.001, body_pose=0.001, betas=0.0005)
    assert {name: loss.weight for name, loss in MeshLoss().losses.items()} == published
    assert AdversarialLoss().weight == 0.0005


def test_values_by_hand():
    loss = Keypoint2DLoss(2.0)
    predicted = torch.tensor([[[0.1, 0.2], [0.5, 0.5]]])
    target = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    assert loss(predicted, target, torch.tensor([[0.5, 0.0]])).item() == pytest.approx(2 * 0.5 * 0.3)
    loss = BodyParameterLoss(10.0)
    assert loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]), torch.ones(1)).item() == 50


def test_position_does_not_matter_in_space():
    predicted, target = batch(2)
    loss = MeshLoss(dict(keypoints_3d=1.0))
    before = loss(predicted, target)['loss_keypoints_3d']
    predicted['keypoints_3d'] = predicted['keypoints_3d'] + torch.tensor([1.0, -2.0, 40.0])
    target['keypoints_3d'] = target['keypoints_3d'] - 3
    assert loss(predicted, target)['loss_keypoints_3d'].item() == pytest.approx(before.item(), rel=1e-4)


def test_reference_batch_weighs_every_body_alike():
    """Twice the same bodies: the sum doubles, the scaled sum stays; 48 bodies are the official sum."""
    predicted, target = batch(24)
    twice = [{key: torch.cat([value, value]) for key, value in part.items()} for part in (predicted, target)]
    plain, scaled = MeshLoss(), MeshLoss(reference_batch=48)
    once_sum, twice_sum = plain(predicted, target), plain(*twice)
    once_scaled, twice_scaled = scaled(predicted, target), scaled(*twice)
    assert len(once_sum) == 5
    for name in once_sum:
        assert twice_sum[name].item() == pytest.approx(2 * once_sum[name].item(), rel=1e-5)
        assert twice_scaled[name].item() == pytest.approx(once_scaled[name].item(), rel=1e-5)
        assert twice_scaled[name].item() == pytest.approx(twice_sum[name].item(), rel=1e-6)


def test_each_body_has_its_own_flags():
    """A loss of a mixed batch is the sum of the losses of its supervised bodies."""
    predicted, target = batch(4)
    target['has_betas'] = torch.tensor([1, 0, 0, 1])
    target['has_body_pose'] = torch.tensor([False, True, False, True])
    target['keypoints_3d_confidence'][2] = 0
    singles = []
    for body in range(4):
        one = [{k: v[body : body + 1] for k, v in part.items()} for part in (predicted, target)]
        singles.append(MeshLoss()(*one))
    assert singles[1]['loss_betas'] == 0 and singles[3]['loss_betas'] > 0
    assert singles[0]['loss_body_pose'] == 0 and singles[2]['loss_keypoints_3d'] == 0
    for name, value in MeshLoss()(predicted, target).items():
        assert value.item() == pytest.approx(sum(single[name].item() for single in singles), rel=1e-5)


def test_unsupervised_nan_goes_nowhere():
    predicted, target = batch(3)
    target['has_betas'][1] = target['has_body_pose'][1] = target['has_global_orient'][1] = False
    target['keypoints_2d_confidence'][:, 5] = 0
    target['keypoints_2d_confidence'][2, 6] = NAN
    target['keypoints_3d_confidence'][1, :] = 0
    target['keypoints_3d_confidence'][0, 7] = -1
    clean = MeshLoss()(predicted, target)
    expected = torch.autograd.grad(sum(clean.values()), list(predicted.values()))
    for name in ('betas', 'body_pose', 'global_orient', 'keypoints_3d'):
        target[name][1] = NAN
    target['keypoints_2d'][:, 5] = float('inf')
    target['keypoints_2d'][2, 6] = target['keypoints_3d'][0, 7] = NAN
    found = MeshLoss()(predicted, target)
    assert found == clean and all(value.isfinite() for value in found.values())
    gradients = torch.autograd.grad(sum(found.values()), list(predicted.values()))
    for gradient, other in zip(gradients, expected, strict=True):
        assert gradient.isfinite().all() and torch.equal(gradient, other)


def test_unsupervised_prediction_that_is_infinite_goes_nowhere():
    depth = torch.tensor([[0.0, 1.0]], requires_grad=True)
    projected = torch.stack([1 / depth, 2 / depth], dim=-1)
    loss = Keypoint2DLoss()(projected, torch.zeros(1, 2, 2), torch.tensor([[0.0, 1.0]]))
    assert loss.item() == pytest.approx(3)


@pytest.mark.parametrize('name', ['keypoints_2d', 'keypoints_3d', 'betas', 'body_pose'])
def test_supervised_nan_is_not_hidden(name):
    predicted, target = batch(2)
    target[name][0, 0] = NAN
    assert MeshLoss()(predicted, target)[f'loss_{name}'].isnan()


def test_pelvis_without_confidence():
    predicted, target = batch(2)
    target['keypoints_3d_confidence'][0, 39] = 0
    sane = MeshLoss()(predicted, target)['loss_keypoints_3d']
    second = [{key: value[1:] for key, value in part.items()} for part in (predicted, target)]
    assert sane.item() == pytest.approx(MeshLoss()(*second)['loss_keypoints_3d'].item(), rel=1e-5)
    official = MeshLoss(require_pelvis=False)(predicted, target)['loss_keypoints_3d']
    assert official.item() == pytest.approx(plain_losses(predicted, target)['loss_keypoints_3d'], rel=1e-5)


def test_pelvis_by_name():
    names = [f'joint {index}' for index in range(39)] + ['pelvis'] + ['other'] * 4
    assert Keypoint3DLoss(pelvis='pelvis', joint_names=names).pelvis == 39
    points, target = torch.randn(1, 3, 3), torch.randn(1, 3, 3)
    by_name = Keypoint3DLoss(pelvis='root', joint_names=['a', 'root', 'b'])
    assert by_name(points, target, torch.ones(1, 3)) == Keypoint3DLoss(pelvis=1)(
        points, target, torch.ones(1, 3)
    )
    for options in (dict(pelvis='root'), dict(pelvis='root', joint_names=['a'])):
        with pytest.raises(ValueError, match="pelvis='root' needs joint_names"):
            Keypoint3DLoss(**options)
    with pytest.raises(ValueError, match='pelvis is joint 39, there are 3'):
        Keypoint3DLoss()(points, target, torch.ones(1, 3))


def test_axis_angle_and_matrices_are_the_same():
    predicted, target = batch(2)
    expected = MeshLoss()(predicted, target)['loss_body_pose']
    target['body_pose'] = axis_angle_to_matrix(target['body_pose'])
    assert torch.allclose(MeshLoss()(predicted, target)['loss_body_pose'], expected)


def test_half_precision_predictions_are_judged_in_float32():
    predicted, target = batch(40)
    half = {key: value.detach().half() for key, value in predicted.items()}
    for value in MeshLoss(dict.fromkeys(OFFICIAL_WEIGHTS, 100.0))(half, target).values():
        assert value.dtype == torch.float32 and value.isfinite()


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda p, t: MeshLoss(dict(vertices=1.0)), 'vertices'),
        (lambda p, t: MeshLoss(reference_batch=0), 'reference_batch'),
        (lambda p, t: MeshLoss()(p, {k: v for k, v in t.items() if k != 'has_betas'}), 'target has_betas'),
        (lambda p, t: MeshLoss()({k: v for k, v in p.items() if k != 'betas'}, t), 'predicted betas'),
        (lambda p, t: MeshLoss()(p, t | dict(keypoints_2d=t['keypoints_2d'][:, :25])), r'\(2, 25, 2\)'),
        (lambda p, t: MeshLoss()(p, t | dict(betas=t['betas'][:, :9])), r'\(2, 9\)'),
        (lambda p, t: MeshLoss()(p, t | dict(has_betas=torch.ones(2, 10))), r'one flag per body.*\(2, 10\)'),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*batch(2))
