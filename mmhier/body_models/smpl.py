"""SMPL as a layer: 24 joints, one pose for all of them.

Loper et al., SMPL: A Skinned Multi-Person Linear Model, SIGGRAPH Asia 2015. For every file in that format,
the open body among them; the computation is :mod:`mmhier.body_models.skinned_body`'s, and so are letters and
convention.
"""

import torch
from torch import Tensor

from mmhier.body_models.joint_sets import JointSet
from mmhier.body_models.skinned_body import BodyOutput, SkinnedBody, common_batch
from mmhier.body_models.smpl_file import BodyModelData
from mmhier.ops.precision import without_tf32


class SMPL(SkinnedBody):
    """SMPL, or any body whose pose is one tensor; arguments as of :class:`SkinnedBody`."""

    def __init__(
        self,
        model: BodyModelData,
        joints: JointSet | str = 'smpl24',
        num_betas: int | None = None,
        update_hips: bool = False,
    ) -> None:
        super().__init__(model, joints, num_betas, num_expressions=0, update_hips=update_hips)

    def forward(
        self,
        betas: Tensor | None = None,
        body_pose: Tensor | None = None,
        global_orient: Tensor | None = None,
        transl: Tensor | None = None,
    ) -> BodyOutput:
        """Shape, pose and move bodies. What is missing is zero; a batch of one serves every body.

        Args:
            betas (Tensor, optional): (B, <= N) shape.
            body_pose (Tensor, optional): rotations of all joints but the root relative to their parents:
                (B, J - 1, 3, 3) matrices, or (B, J - 1, 3) or (B, 3 * (J - 1)) axis-angle.
            global_orient (Tensor, optional): rotation of the root: (B, 1, 3, 3) or (B, 3, 3) matrices, or
                (B, 1, 3) or (B, 3) axis-angle.
            transl (Tensor, optional): (B, 3) metres.

        Returns:
            BodyOutput: vertices (B, V, 3), joints (B, K, 3), skeleton (B, J, 3).

        Raises:
            ValueError: if a shape fits none of these.
        """
        kind = self.template.device.type
        with torch.autocast(kind, enabled=False), without_tf32(kind):
            vertices, skeleton = self._posed(betas, body_pose, global_orient, transl)
            return BodyOutput(vertices, self.regressor(vertices, skeleton), skeleton)

    def posed_joints(
        self,
        betas: Tensor | None = None,
        body_pose: Tensor | None = None,
        global_orient: Tensor | None = None,
        transl: Tensor | None = None,
    ) -> Tensor:
        """Only the joints of :meth:`forward`, which needs few of the vertices: for losses.

        Returns:
            Tensor: (B, K, 3) metres.
        """
        kind = self.template.device.type
        with torch.autocast(kind, enabled=False), without_tf32(kind):
            used, skeleton = self._posed(betas, body_pose, global_orient, transl, near=True)
            return self.regressor.of_used(used, skeleton)

    def _posed(
        self,
        betas: Tensor | None,
        body_pose: Tensor | None,
        global_orient: Tensor | None,
        transl: Tensor | None,
        near: bool = False,
    ) -> tuple[Tensor, ...]:
        """Vertices and skeleton, moved."""
        batch = common_batch(betas, body_pose, global_orient, transl)
        betas = self._coefficients('betas', betas, self.num_betas, batch)
        root = self._rotations('global_orient', global_orient, 1, batch)
        pose = self._rotations('body_pose', body_pose, self.num_joints - 1, batch)
        vertices, skeleton, _ = self._pose(betas, torch.cat([root, pose], 1), near)
        return self._moved(transl, batch, vertices, skeleton)
