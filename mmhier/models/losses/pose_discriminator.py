"""Adversarial prior of HMR (Kanazawa et al., arXiv 1712.06584) as HMR2.0 uses it.

A discriminator tells poses and shapes of motion capture from predicted ones; least squares on its scores.
Both steps are weighted by 0.0005 in the official recipe, and both are means over bodies, unlike the other
losses.

Letters: B bodies, J body joints (the orientation of the body is not judged), S shape components.
"""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn

from mmhier.mesh_sample import SMPL_LAYOUT

JOINT_DIMS = 32
POSE_DIMS = 1024
SHAPE_DIMS = (10, 5)


@MODELS.register_module()
class PoseDiscriminator(BaseModule):
    """Scores of a body: one per joint, one for the shape, one for all joints together.

    Real bodies are to score 1, predicted ones 0. All layers start with Xavier's uniform weights and no bias.

    Args:
        num_joints: J.
        num_betas: S.
        init_cfg: Initial weights.
    """

    def __init__(
        self,
        num_joints: int = SMPL_LAYOUT.num_body,
        num_betas: int = SMPL_LAYOUT.num_betas,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        self.num_joints = num_joints
        self.num_betas = num_betas
        self.joint_fc1 = nn.Linear(9, JOINT_DIMS)
        self.joint_fc2 = nn.Linear(JOINT_DIMS, JOINT_DIMS)
        # Row j reads joint j.
        self.joint_readout = nn.Linear(JOINT_DIMS, num_joints)
        self.shape_fc1 = nn.Linear(num_betas, SHAPE_DIMS[0])
        self.shape_fc2 = nn.Linear(*SHAPE_DIMS)
        self.shape_readout = nn.Linear(SHAPE_DIMS[1], 1)
        self.pose_fc1 = nn.Linear(num_joints * JOINT_DIMS, POSE_DIMS)
        self.pose_fc2 = nn.Linear(POSE_DIMS, POSE_DIMS)
        self.pose_readout = nn.Linear(POSE_DIMS, 1)
        for layer in self.children():
            # a joint's read-out is a layer with one output
            weight = layer.weight.detach()
            for part in weight.split(1) if layer is self.joint_readout else (weight,):
                nn.init.xavier_uniform_(part)
            nn.init.zeros_(layer.bias)

    def forward(self, body_pose: Tensor, betas: Tensor) -> Tensor:
        """Judge bodies.

        Args:
            body_pose: (B, J, 3, 3) rotation matrices.
            betas: (B, S).

        Returns:
            (B, J + 2): joints, shape, pose.

        Raises:
            ValueError: If a shape is another.
        """
        if body_pose.shape[1:] != (self.num_joints, 3, 3) or betas.shape[1:] != (self.num_betas,):
            raise ValueError(
                f'expected body_pose (B, {self.num_joints}, 3, 3) and betas (B, {self.num_betas}), got '
                f'{tuple(body_pose.shape)} and {tuple(betas.shape)}'
            )
        joints = F.relu(self.joint_fc2(F.relu(self.joint_fc1(body_pose.flatten(2)))))  # (B, J, 32)
        of_joints = (joints * self.joint_readout.weight).sum(-1) + self.joint_readout.bias
        of_shape = self.shape_readout(F.relu(self.shape_fc2(F.relu(self.shape_fc1(betas)))))
        # channel-major, as the convolutions of the official code leave it
        pose = F.relu(self.pose_fc2(F.relu(self.pose_fc1(joints.mT.flatten(1)))))
        return torch.cat([of_joints, of_shape, self.pose_readout(pose)], dim=1)


@MODELS.register_module()
class AdversarialLoss(nn.Module):
    """Least squares on the discriminator's scores.

    Args:
        weight: Factor of both steps.
        double_real_weight: Count the real bodies twice. True is what the official code comes to: it draws two
            real bodies per predicted one and divides by the number of the latter.
    """

    def __init__(self, weight: float = 0.0005, double_real_weight: bool = False):
        super().__init__()
        self.weight = weight
        self.double_real_weight = double_real_weight

    def generator(self, fake: Tensor) -> Tensor:
        """Loss of the regressor from the scores (B, J + 2) of its bodies, which should look real."""
        return self.weight * _mean_square(fake - 1)

    def discriminator(self, fake: Tensor, real: Tensor) -> Tensor:
        """Loss of the discriminator from its scores of detached predicted bodies and of real ones.

        Args:
            fake: (B, J + 2).
            real: (M, J + 2), for any number M.
        """
        real_weight = 2.0 if self.double_real_weight else 1.0
        return self.weight * (_mean_square(fake) + real_weight * _mean_square(real - 1))


def _mean_square(scores: Tensor) -> Tensor:
    """Sum of squares over the scores, mean over bodies, in float32."""
    return scores.float().square().sum(1).mean()
