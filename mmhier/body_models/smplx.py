"""SMPL-X as a layer: body, hands and face, 55 joints.

Pavlakos et al., Expressive Body Capture: 3D Hands, Face, and Body from a Single Image, CVPR 2019. The
computation is :mod:`mmhier.body_models.skinned_body`'s, and so are letters and convention; new here are the
parts of the pose, components of hand poses, and the outline of the face, which depends on where it looks.

Convention:
    A face's outline is looked up by the turn of its neck about the vertical axis of the frame of
    ``global_orient``, in whole degrees (half a degree goes to the even one), at most 39.
"""

import math

import torch
from torch import Tensor

from mmhier.body_models.joint_sets import JointSet
from mmhier.body_models.skinned_body import BodyOutput, SkinnedBody, common_batch
from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES, BodyModelData
from mmhier.ops.precision import without_tf32

NUM_BODY_JOINTS, NUM_HAND_JOINTS = 21, 15
NECK = SMPLX_JOINT_NAMES.index('neck')
MAX_TURN = 39


class SMPLX(SkinnedBody):
    """SMPL-X, or another body with its skeleton; other arguments as of :class:`SkinnedBody`.

    Args:
        hand_components (int): hand poses are that many coefficients of the model's principal components; 0:
            they are rotations.
        add_hand_means (bool): hand poses, as axis-angle or coefficients, are relative to the model's mean
            hands, as in SMPLer-X; a hand that is not given is the mean hand then.

    Raises:
        ValueError: if the model has another skeleton, or no means or components of hands and they are asked
            for.
    """

    hand_means: Tensor
    components: Tensor
    contour_vertices: Tensor
    contour_weights: Tensor

    def __init__(
        self,
        model: BodyModelData,
        joints: JointSet | str = 'smplx144',
        num_betas: int | None = None,
        num_expressions: int | None = None,
        hand_components: int = 0,
        add_hand_means: bool = False,
        update_hips: bool = False,
    ) -> None:
        if model.joint_names != SMPLX_JOINT_NAMES:
            raise ValueError(
                f'This body has {model.num_joints} joints ({", ".join(model.joint_names[:3])} ...), not the '
                f'{len(SMPLX_JOINT_NAMES)} of SMPL-X: use mmhier.body_models.smpl.SMPL for it.'
            )
        super().__init__(model, joints, num_betas, num_expressions, update_hips)
        self.hand_components, self.add_hand_means = hand_components, add_hand_means
        if add_hand_means and model.hand_means is None:
            raise ValueError(f'add_hand_means=True: {self.name} has no mean hands.')
        available = 0 if model.hand_components is None else model.hand_components.shape[1]
        if not 0 <= hand_components <= available:
            raise ValueError(f'hand_components={hand_components}: {self.name} has {available} of them.')
        buffers = {}
        if add_hand_means:
            buffers['hand_means'] = model.hand_means
        if hand_components:
            buffers['components'] = model.hand_components[:, :hand_components]
        self.has_contour = self.regressor.needs_contour
        if self.has_contour:
            buffers['contour_vertices'] = model.contour_vertices.reshape(len(model.contour_vertices), -1)
            buffers['contour_weights'] = model.contour_weights
        for name, array in buffers.items():
            self.register_buffer(name, torch.from_numpy(array.copy()), persistent=False)

    def forward(
        self,
        betas: Tensor | None = None,
        body_pose: Tensor | None = None,
        global_orient: Tensor | None = None,
        transl: Tensor | None = None,
        expression: Tensor | None = None,
        left_hand_pose: Tensor | None = None,
        right_hand_pose: Tensor | None = None,
        jaw_pose: Tensor | None = None,
        leye_pose: Tensor | None = None,
        reye_pose: Tensor | None = None,
    ) -> BodyOutput:
        """Shape, pose and move bodies. What is missing is zero; a batch of one serves every body.

        Args:
            betas (Tensor, optional): (B, up to ``num_betas``) shape.
            body_pose (Tensor, optional): rotations of the 21 joints after the pelvis, relative to their
                parents: (B, 21, 3, 3) matrices, or (B, 21, 3) or (B, 63) axis-angle.
            global_orient (Tensor, optional): rotation of the root: (B, 1, 3, 3) or (B, 3, 3) matrices, or
                (B, 1, 3) or (B, 3) axis-angle.
            transl (Tensor, optional): (B, 3) metres.
            expression (Tensor, optional): (B, up to ``num_expressions``).
            left_hand_pose (Tensor, optional): rotations of 15 joints, (B, 15, 3, 3), (B, 15, 3) or (B, 45),
                index, middle, little, ring finger and thumb from palm to tip; or, with ``hand_components``,
                (B, hand_components) coefficients. Matrices cannot be relative to mean hands.
            right_hand_pose (Tensor, optional): the same.
            jaw_pose (Tensor, optional): as ``global_orient``.
            leye_pose (Tensor, optional): as ``global_orient``.
            reye_pose (Tensor, optional): as ``global_orient``.

        Returns:
            BodyOutput: vertices (B, V, 3), joints (B, K, 3), skeleton (B, 55, 3).

        Raises:
            ValueError: if a shape fits none of these.
        """
        singles = dict(
            global_orient=global_orient, jaw_pose=jaw_pose, leye_pose=leye_pose, reye_pose=reye_pose
        )
        hands = dict(left_hand_pose=left_hand_pose, right_hand_pose=right_hand_pose)
        batch = common_batch(betas, body_pose, transl, expression, *singles.values(), *hands.values())
        kind = self.template.device.type
        with torch.autocast(kind, enabled=False), without_tf32(kind):
            shape = torch.cat(
                [
                    self._coefficients('betas', betas, self.num_betas, batch),
                    self._coefficients('expression', expression, self.num_expressions, batch),
                ],
                dim=1,
            )
            root, *face = (self._rotations(name, pose, 1, batch) for name, pose in singles.items())
            body = self._rotations('body_pose', body_pose, NUM_BODY_JOINTS, batch)
            fingers = [self._hand(side, name, pose, batch) for side, (name, pose) in enumerate(hands.items())]
            vertices, skeleton, turned = self._pose(shape, torch.cat([root, body, *face, *fingers], dim=1))
            vertices, skeleton = self._moved(transl, batch, vertices, skeleton)
            points = skeleton
            if self.has_contour:
                points = torch.cat([skeleton, self._contour(vertices, turned[:, NECK])], dim=1)
            return BodyOutput(vertices, self.regressor(vertices, points), skeleton)

    def posed_joints(self, **parameters: Tensor) -> Tensor:
        """Only the joints of :meth:`forward`, (B, K, 3) metres: for losses."""
        return self(**parameters).joints

    def rotations(self, **poses: Tensor) -> dict[str, Tensor]:
        """Poses of parts, named as in :meth:`forward`, as matrices (B, n, 3, 3), hands with their means."""
        counts = dict(global_orient=1, body_pose=NUM_BODY_JOINTS, jaw_pose=1, leye_pose=1, reye_pose=1)
        hands = ('left_hand_pose', 'right_hand_pose')
        matrices = {}
        for name, pose in poses.items():
            if name in hands:
                matrices[name] = self._hand(hands.index(name), name, pose, len(pose))
            else:
                matrices[name] = self._rotations(name, pose, counts[name], len(pose))
        return matrices

    def _hand(self, side: int, name: str, pose: Tensor | None, batch: int) -> Tensor:
        """(B, 15, 3, 3) of a hand from rotations, coefficients or nothing."""
        if self.hand_components:
            if pose is None:
                pose = self.components.new_zeros(1, self.hand_components)
            # Unlike those of a shape, fewer coefficients than there should be are an oversight.
            fits = pose.shape[1:] == (self.hand_components,)
            self._check(name, pose, fits, f'(B, {self.hand_components}) coefficients', batch)
            pose = pose.to(self.components.dtype) @ self.components[side]
        if not self.add_hand_means:
            return self._rotations(name, pose, NUM_HAND_JOINTS, batch)
        if pose is None:
            pose = self.hand_means.new_zeros(1, self.hand_means.shape[1])
        if pose.ndim > 3:
            raise ValueError(
                f'{name} of shape {tuple(pose.shape)}: matrices cannot be relative to mean hands; give '
                'axis-angle, or build the body with add_hand_means=False.'
            )
        self._check(name, pose, pose.shape[1:] in ((15, 3), (45,)), '(B, 15, 3), (B, 45)', batch)
        return self._rotations(name, pose.flatten(1) + self.hand_means[side], NUM_HAND_JOINTS, batch)

    def _contour(self, vertices: Tensor, neck: Tensor) -> Tensor:
        """Outline (B, 17, 3) of faces from vertices (B, V, 3) and world rotations (B, 3, 3) of necks."""
        neck = neck.detach()  # only chooses among rows
        turn = torch.atan2(neck[:, 2, 0], neck[:, :2, 0].square().sum(1).sqrt())
        degrees = torch.round(turn * (180.0 / math.pi)).clamp(-MAX_TURN, MAX_TURN).long()
        row = torch.where(degrees < 0, MAX_TURN - degrees, degrees)
        row = row.clamp(0, 2 * MAX_TURN)  # of a body that is not finite, whose outline is not either
        corners = self.contour_vertices[row][..., None].expand(-1, -1, 3)  # (B, 51, 3)
        weights = self.contour_weights[row][..., None]  # (B, 17, 3, 1)
        return (vertices.gather(1, corners).unflatten(1, (-1, 3)) * weights).sum(dim=2)
