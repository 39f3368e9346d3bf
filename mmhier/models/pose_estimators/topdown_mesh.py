"""Body meshes from crops of people: encoder -> 1/16 map -> parameters of a body model -> mesh and joints.

The model of HMR2.0 (Goel et al., arXiv 2305.20091) and of its truncated kin (arXiv 2510.12660); with another
head, body model and loss that of SMPLer-X (arXiv 2309.17448), whose bodies have hands and a face. What comes
in is :mod:`mmhier.mesh_sample`, of the head's layout; crop units are sides of the square crop there, of whose
columns the model sees the middle three quarters.

Predictions, per person, in ``pred_instances``, arrays of float32 with N = 1:

| field            | shape          | unit    | frame |
|------------------|----------------|---------|-------|
| global_orient    | (N, 1, 3, 3)   |         | body to camera |
| body_pose        | (N, J, 3, 3)   |         | relative to the parent joint |
| left_hand_pose, right_hand_pose * | (N, 15, 3, 3) | | relative to the parent joint, mean hand included |
| jaw_pose *       | (N, 1, 3, 3)   |         | relative to the parent joint |
| betas            | (N, S)         |         | components of the body model |
| expression *     | (N, E)         |         | components of the body model |
| camera           | (N, 3)         | halves of the crop per metre; metres | ``(s, tx, ty)`` of the crop |
| transl           | (N, 3)         | metres  | camera of the full image |
| focal_length     | (N,)           | pixels  | of the full image, assumed |
| vertices         | (N, V, 3)      | metres  | axes of the camera, origin of the body |
| keypoints_3d     | (N, K, 3)      | metres  | axes of the camera, origin of the body |
| keypoints        | (N, K, 2)      | pixels  | full image |
| keypoint_scores  | (N, K)         |         | 1: the model does not say how sure it is |
| part_boxes *     | (N, 3, 4)      | pixels  | full image: left, top, right, bottom of hands and face |

Those marked with * are of whole bodies.

Convention:
    Camera: x right, y down, z forward. ``vertices + transl`` stand in the camera of the full image, whose
    axis meets the image's centre; :mod:`mmhier.geometry.cameras` has the formulas. ``keypoints`` are seen
    through the camera of the crop, as in training; through the camera of the full image the same joints
    appear in almost the same places.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.structures import InstanceData
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.registry import DATASETS, MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor

from mmhier.body_models.model_directory import load_body_model
from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smplx import SMPLX
from mmhier.geometry.cameras import (
    boxes_in_crop_units,
    crop_to_full_translation,
    full_focal_length,
    perspective_projection,
    weak_perspective_to_translation,
)
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.mesh_sample import SMPL_LAYOUT, SampleLayout, sample_layout
from mmhier.ops.remember import outside_modes

# What a head says of whole bodies, and only losses read.
_OF_WHOLE_BODIES = ('pose', 'transl', 'points', 'box_centers', 'box_sizes', 'boxes')


@MODELS.register_module()
class TopdownMeshEstimator(BasePoseEstimator):
    """Encoder, neck, head, body model and losses.

    Args:
        backbone: Encoder.
        head: Regressor of body parameters, :class:`mmhier.models.heads.HMR2Head` or
            :class:`mmhier.models.heads.SMPLerXHead`.
        neck: Brings the encoder's map to the head.
        body_model: 'open', 'neutral', 'male', 'female' or a file; of whole bodies 'smplx_neutral' and so on,
            see :mod:`mmhier.body_models.model_directory`. Loaded when it is first used; never part of a
            checkpoint.
        joints: Joint set of the predicted keypoints; by default that of the head's layout.
        loss: Supervised losses, :class:`mmhier.models.losses.MeshLoss`, of whole bodies
            :class:`mmhier.models.losses.WholeBodyLoss`.
        discriminator: Judge of the adversarial prior, :class:`mmhier.models.losses.PoseDiscriminator`.
            By default there is no prior.
        adversarial_loss: :class:`mmhier.models.losses.AdversarialLoss`.
        mocap: Data set of real people for the discriminator, opened in the first training step. Its samples
            are dictionaries with ``body_pose`` (J, 3), axis-angle in radians, and ``betas`` (S,). As many are
            drawn as there are people in the batch.
        train_cfg: Not used.
        test_cfg: How ``mmhier infer`` cuts people out, ``padding`` and ``blur`` of
            :class:`mmhier.inference.crops.MeshCropper`. Evaluation has its pipeline for it.
        data_preprocessor: Normalisation of images.
        init_cfg: Initial weights.
        metainfo: See MMPose.

    Raises:
        ValueError: If only some of ``discriminator``, ``adversarial_loss`` and ``mocap`` are given.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        neck: dict | None = None,
        body_model: str = 'open',
        joints: str | None = None,
        loss: dict | None = None,
        discriminator: dict | None = None,
        adversarial_loss: dict | None = None,
        mocap: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list | None = None,
        metainfo: dict | None = None,
    ):
        super().__init__(
            backbone, neck, head, train_cfg, test_cfg, data_preprocessor, init_cfg=init_cfg, metainfo=metainfo
        )
        prior = dict(discriminator=discriminator, adversarial_loss=adversarial_loss, mocap=mocap)
        missing = [name for name, part in prior.items() if part is None]
        if 0 < len(missing) < len(prior):
            raise ValueError(f'the adversarial prior needs {", ".join(prior)}; {", ".join(missing)} not set')
        self.body_model_name = body_model
        self.layout = sample_layout(self.head.layout)
        self.joints = joints or self.layout.joints.name
        self.loss_module = MODELS.build(
            loss or dict(type='WholeBodyLoss' if self.layout.has_parts else 'MeshLoss')
        )
        self.mocap = mocap
        self._real_people = None
        if not missing:
            self.discriminator = MODELS.build(discriminator)
            self.adversarial_loss = MODELS.build(adversarial_loss)

    # Whether losses_of() compares vertices.
    loss_needs_vertices = False

    @property
    def with_prior(self) -> bool:
        """Whether there is a discriminator."""
        return self.mocap is not None

    def body(self) -> SMPL | SMPLX:
        """The body model, on the device of the head; loaded at the first call.

        Raises:
            FileNotFoundError: If it is not installed.
            ValueError: If it is a body without hands and face, and the model predicts them.
        """
        if 'body_model' not in self._modules:
            parts = {}
            if self.layout.has_parts:
                parts = dict(num_expressions=self.layout.num_expressions, add_hand_means=True)
            with outside_modes():  # the first caller may predict, a later one trains
                layer = load_body_model(self.body_model_name, self.joints, self.head.num_betas, **parts)
                self.body_model = layer.to(next(self.head.parameters()).device)
        return self.body_model

    def predict_bodies(self, inputs: Tensor, vertices: bool = True) -> dict[str, Tensor]:
        """Regress one body per crop.

        Args:
            inputs: (B, 3, height, width), normalised.
            vertices: Whether they are wanted: joints alone are computed from a few of them.

        Returns:
            Parameters of the body, ``camera``, ``vertices`` and ``keypoints_3d`` as at the top of this file
            with N = B; ``keypoints_2d`` (B, K, 2) in crop units. Of whole bodies ``part_boxes`` (B, 3, 4) in
            crop units, and what else the head says under the names of
            :class:`mmhier.models.heads.smplerx_head.SMPLerXPrediction`, where ``pose`` is its rotations.
        """
        found = self.head(self.extract_feat(inputs))
        body = found.body
        predicted = dict(body, camera=found.camera)
        if vertices:
            predicted['vertices'], joints, _ = self.body()(**body)
        else:
            joints = self.body().posed_joints(**body)
        translation = weak_perspective_to_translation(found.camera)
        predicted['keypoints_3d'] = joints
        predicted['keypoints_2d'] = perspective_projection(joints, translation)
        if self.layout.has_parts:
            names = ('global_orient', *self.layout.rotations)
            predicted |= self.body().rotations(**{name: body[name] for name in names})
            predicted['part_boxes'] = boxes_in_crop_units(found.boxes, self.head.input_size_wh)
            predicted |= {name: getattr(found, name) for name in _OF_WHOLE_BODIES}
        return predicted

    def _forward(self, inputs: Tensor, data_samples: Sequence | None = None) -> dict[str, Tensor]:
        return self.predict_bodies(inputs)

    def loss(self, inputs: Tensor, data_samples: Sequence[PoseDataSample]) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            inputs: (B, 3, height, width), normalised.
            data_samples: One per crop, with the ground truth of :mod:`mmhier.mesh_sample`.

        Returns:
            Those of ``loss``; with the prior also ``loss_adversarial`` and ``loss_discriminator``, of which
            each reaches the parameters of one optimizer only.
        """
        return self.losses_of(self.predict_bodies(inputs, self.loss_needs_vertices), inputs, data_samples)

    def losses_of(
        self, predicted: Mapping[str, Tensor], inputs: Tensor, data_samples: Sequence[PoseDataSample]
    ) -> dict[str, Tensor]:
        """The losses of what :meth:`predict_bodies` has made of the inputs; the rest as of :meth:`loss`."""
        targets = stack_targets(data_samples, inputs.device, self.layout)
        if self.layout.has_parts:
            names = ('global_orient', *self.layout.rotations, *self.layout.coefficients)
            with torch.no_grad():
                fitted = self.body().posed_joints(**{name: targets[name] for name in names})
            targets['fitted_keypoints_3d'] = fitted
        losses = self.loss_module(predicted, targets)
        if self.with_prior:
            losses |= self._prior_losses(predicted['body_pose'], predicted['betas'])
        return losses

    def _prior_losses(self, body_pose: Tensor, betas: Tensor) -> dict[str, Tensor]:
        constants = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        scores = torch.func.functional_call(self.discriminator, constants, (body_pose, betas))
        fake = self.discriminator(body_pose.detach(), betas.detach())
        real = self.discriminator(*self._draw_real(len(betas)))
        return dict(
            loss_adversarial=self.adversarial_loss.generator(scores),
            loss_discriminator=self.adversarial_loss.discriminator(fake, real),
        )

    def _draw_real(self, count: int) -> tuple[Tensor, Tensor]:
        """Rotations (B, J, 3, 3) and betas (B, S) of people of the mocap data set, with replacement."""
        if self._real_people is None:
            self._real_people = DATASETS.build(self.mocap)
        # From torch's generator, which a resumed run seeds as before; processes may have the same one.
        seed = int(torch.randint(1 << 62, ()))
        numbers = np.random.default_rng([seed, get_rank()]).integers(len(self._real_people), size=count)
        people = [self._real_people[int(number)] for number in numbers]
        like = next(self.head.parameters())
        body_pose, betas = (
            torch.as_tensor(np.stack([person[name] for person in people])).to(like)
            for name in ('body_pose', 'betas')
        )
        return axis_angle_to_matrix(body_pose.reshape(count, -1, 3)), betas

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor | dict[str, Tensor], dict[str, Tensor]]:
        """Sum the losses.

        Returns:
            The sum, or with the prior one per optimizer (``generator``, ``discriminator``); and what is
            logged, where ``loss`` is the generator's.
        """
        losses = dict(losses)
        discriminator = losses.pop('loss_discriminator', None)
        total, log = super().parse_losses(losses)
        if discriminator is None:
            return total, log
        log['loss_discriminator'] = discriminator
        return dict(generator=total, discriminator=discriminator), log

    def predict(self, inputs: Tensor, data_samples: Sequence[PoseDataSample]) -> list[PoseDataSample]:
        """Add ``pred_instances``, see the top of this file, to the samples."""
        predicted = self.predict_bodies(inputs)
        center, size, image_wh = crop_boxes(data_samples, inputs.device)
        focal = full_focal_length(image_wh)
        crop_units = predicted.pop('keypoints_2d')
        if self.layout.has_parts:
            for name in _OF_WHOLE_BODIES:
                del predicted[name]
            corners = predicted['part_boxes'].unflatten(2, (2, 2))
            corners = center[:, None, None] + size[:, None, None, None] * corners
            predicted['part_boxes'] = corners.flatten(2)
        predicted['transl'] = crop_to_full_translation(predicted['camera'], center, size, image_wh, focal)
        predicted['focal_length'] = focal
        predicted['keypoints'] = center[:, None] + size[:, None, None] * crop_units
        predicted['keypoint_scores'] = torch.ones_like(crop_units[..., 0])
        arrays = {name: value.detach().cpu().numpy() for name, value in predicted.items()}
        for index, sample in enumerate(data_samples):
            sample.pred_instances = InstanceData(
                **{name: value[index : index + 1] for name, value in arrays.items()}
            )
        return list(data_samples)


def stack_targets(
    data_samples: Sequence[PoseDataSample], device: torch.device, layout: SampleLayout = SMPL_LAYOUT
) -> dict[str, Tensor]:
    """The ground truth of a batch, as :class:`mmhier.models.losses.MeshLoss` reads it.

    Raises:
        ValueError: If a sample is of another layout.
    """
    for sample in data_samples:
        if (given := sample.metainfo.get('layout', layout.name)) != layout.name:
            raise ValueError(
                f'{sample.get("sample_key")} is a sample of the layout {given!r}, the model is trained on '
                f'{layout.name!r}: give all data sets of a run layout={layout.name!r}'
            )
    labels = [sample.gt_instance_labels for sample in data_samples]
    targets = {
        name: torch.from_numpy(np.concatenate([label[name] for label in labels])).to(device)
        for name in layout.label_shapes
    }
    for name in layout.keypoint_fields:
        targets[f'{name}_confidence'] = targets[name][..., -1]
        targets[name] = targets[name][..., :-1]
    return targets


def crop_boxes(data_samples: Sequence[PoseDataSample], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (B, 2) and sides (B,) of the square crops, sizes of their images (B, 2), (width, height).

    Raises:
        ValueError: If a crop is mirrored or turned.
    """
    for sample in data_samples:
        if sample.flip or sample.box_rotation:
            raise ValueError(
                f'{sample.sample_key}: the crop is mirrored or turned (flip={sample.flip}, box_rotation='
                f'{sample.box_rotation}), predictions need one that is not: use the pipeline for evaluation'
            )
    numbers = [
        [*sample.box_center, sample.box_size, sample.ori_shape[1], sample.ori_shape[0]]
        for sample in data_samples
    ]
    table = torch.tensor(np.asarray(numbers, np.float32), device=device)
    return table[:, :2], table[:, 2], table[:, 3:]
