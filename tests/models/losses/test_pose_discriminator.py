"""Adversarial prior: its layers, one by one, and its two losses."""

import pytest
import torch
from mmpose.registry import MODELS

from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.models.losses.pose_discriminator import AdversarialLoss, PoseDiscriminator


def bodies(count):
    return axis_angle_to_matrix(torch.randn(count, 23, 3)), torch.randn(count, 10)


def dense(layer, x):
    return layer.weight.detach() @ x + layer.bias.detach()


def judge_plainly(network, pose, betas):
    """HMR's discriminator on one body, joint by joint."""
    scores, features = [], []
    for joint in range(23):
        hidden = dense(network.joint_fc1, pose[joint].flatten()).clamp(min=0)
        features.append(dense(network.joint_fc2, hidden).clamp(min=0))
        weight, bias = network.joint_readout.weight[joint], network.joint_readout.bias[joint]
        scores.append(weight.detach() @ features[-1] + bias.detach())
    hidden = dense(network.shape_fc2, dense(network.shape_fc1, betas).clamp(min=0)).clamp(min=0)
    scores.append(dense(network.shape_readout, hidden)[0])
    together = torch.tensor([features[joint][channel] for channel in range(32) for joint in range(23)])
    hidden = dense(network.pose_fc2, dense(network.pose_fc1, together).clamp(min=0)).clamp(min=0)
    scores.append(dense(network.pose_readout, hidden)[0])
    return torch.stack(scores)


def test_equals_plain_reference():
    network = MODELS.build(dict(type='PoseDiscriminator'))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    pose, betas = bodies(3)
    found = network(pose, betas)
    assert found.shape == (3, 25)
    expected = torch.stack([judge_plainly(network, *body) for body in zip(pose, betas, strict=True)])
    assert torch.allclose(found, expected, atol=1e-4)


def test_parameter_count():
    assert sum(parameter.numel() for parameter in PoseDiscriminator().parameters()) == 1_807_619


def test_initial_weights():
    """Xavier, and a joint's read-out is a layer with 32 inputs and one output."""
    network = PoseDiscriminator()
    assert not any(parameter.any() for name, parameter in network.named_parameters() if name.endswith('bias'))
    for layer, bound in (
        (network.joint_fc1, (6 / 41) ** 0.5),
        (network.joint_readout, (6 / 33) ** 0.5),
        (network.pose_fc2, (6 / 2048) ** 0.5),
    ):
        largest = layer.weight.abs().max().item()
        assert 0.95 * bound < largest <= bound


def test_losses_by_hand():
    loss = AdversarialLoss(weight=0.5)
    fake, real = torch.tensor([[1.0, 0.5], [0.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    assert loss.generator(fake).item() == pytest.approx(0.5 * (0.25 + 1.0) / 2)
    assert loss.discriminator(fake, real).item() == pytest.approx(0.5 * (2.25 / 2 + 4.0))
    double = AdversarialLoss(weight=0.5, double_real_weight=True)
    assert double.discriminator(fake, real).item() == pytest.approx(0.5 * (2.25 / 2 + 8.0))


def test_double_weight_is_twice_as_many_real_bodies():
    """The official code: 96 real bodies, 48 predicted ones, both sums divided by 48."""
    fake, real = torch.randn(48, 25), torch.randn(96, 25)
    official = 0.0005 * ((fake**2).sum() / 48 + ((real - 1) ** 2).sum() / 48)
    assert AdversarialLoss(double_real_weight=True).discriminator(fake, real).item() == pytest.approx(
        official.item(), rel=1e-5
    )


def test_the_discriminator_learns_to_tell():
    network, loss = PoseDiscriminator(), AdversarialLoss(weight=1.0)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    real, fake = bodies(32), bodies(32)
    real = axis_angle_to_matrix(0.1 * torch.randn(32, 23, 3)), 0.1 * real[1]
    values = []
    for _ in range(60):
        value = loss.discriminator(network(*fake), network(*real))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.3 * values[0]
    assert loss.generator(network(*fake)) > loss.generator(network(*real))


def test_every_parameter_and_the_pose_receive_gradients():
    network, (pose, betas) = PoseDiscriminator(), bodies(4)
    pose.requires_grad_(), betas.requires_grad_()
    AdversarialLoss().generator(network(pose, betas)).backward()
    for tensor in (pose, betas, *network.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any()


@pytest.mark.parametrize(('joints', 'betas'), [(24, 10), (23, 11)])
def test_bad_input_is_named(joints, betas):
    with pytest.raises(ValueError, match=rf'\(2, {joints}, 3, 3\) and \(2, {betas}\)'):
        PoseDiscriminator()(torch.zeros(2, joints, 3, 3), torch.zeros(2, betas))
