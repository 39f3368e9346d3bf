"""What a sample of mesh recovery consists of: the one table of its fields.

A data set hands a dictionary to the pipeline (first table), the pipeline hands ``inputs`` and a
``PoseDataSample`` to the model (second table). One sample is one person. Formats and conventions of bodies
without fingers are those of HMR2.0 (4D-Humans), of whole bodies those of SMPLer-X. How many joints,
rotations and coefficients there are is the layout's to say, :class:`SampleLayout`:

| layout    | K   | joints       | R  | hands  | jaw | betas | expression | square crop | ``inputs`` |
|-----------|-----|--------------|----|--------|-----|-------|------------|-------------|------------|
| ``smpl``  | 44  | ``hmr44``    | 23 |        |     | 10    |            | 256 x 256   | 192 x 256  |
| ``smplx`` | 137 | ``smplx137`` | 21 | 15, 15 | 1   | 10    | 10         | 512 x 512   | 384 x 512  |

Joint sets are those of :mod:`mmhier.body_models.joint_sets`. Fields marked with * are those of whole bodies.

**In the pipeline**: ``results``

| field             | shape        | type    | unit and frame |
|-------------------|--------------|---------|----------------|
| sample_key        |              | str     | names the person: file, image, number in the image |
| dataset_name      |              | str     | as the evaluator knows the data set |
| sample_idx        |              | int     | number in the data set |
| layout            |              | SampleLayout | of this sample; without it ``smpl`` |
| img_path          |              | str     | file, or ``TAR:MEMBER``|
| img_bytes         |              | bytes   | encoded image, instead of a file |
| img               | (H, W, 3)    | uint8   | BGR; after loading |
| keypoints_2d      | (K, 3)       | float32 | pixels of the image (centre of the first: 0), confidence |
| keypoints_3d      | (K, 4)       | float32 | metres, axes of the camera, any origin; confidence |
| fitted_keypoints_2d * | (K, 3)   | float32 | as ``keypoints_2d``, projected joints of the annotated body |
| part_boxes *      | (3, 5)       | float32 | of ``PARTS``: left, top, right, bottom, pixels; confidence |
| global_orient     | (1, 3)       | float32 | axis-angle, radians, body to camera |
| body_pose         | (R, 3)       | float32 | axis-angle, radians, relative to the parent joint |
| left_hand_pose, right_hand_pose * | (15, 3) | float32 | the same, less the body model's mean hand |
| jaw_pose *        | (1, 3)       | float32 | axis-angle, radians, relative to the parent joint |
| betas             | (10,)        | float32 | components of the body model's shape |
| expression *      | (10,)        | float32 | components of the body model's expression |
| has_body_pose     |              | float   | 1: ``global_orient`` and ``body_pose`` are known; 0: zeros |
| has_betas         |              | float   | 1: ``betas`` are known; 0: zeros |
| has_left_hand_pose, has_right_hand_pose, has_jaw_pose, has_expression * | | float | the same |
| fitting_error     |              | float   | how badly the annotated body fits the image; NaN: unknown |
| rng               |              | Generator | optional: where augmentation draws its random numbers from |
| center            | (2,)         | float32 | centre of the annotated box, pixels of the image, (x, y) |
| scale             | (2,)         | float32 | its size, pixels of the image, (width, height) |

**For the model**: ``inputs`` (3, height, width), BGR from 0 to 255, float32 (uint8 where no colours are
changed or they are rounded). They are the middle three quarters of the columns of a square crop.

``data_samples.gt_instance_labels``, what the losses read: after augmentation, as the crop shows the person.
Arrays with N = 1 in front, so that a batch is their concatenation (tensors would be sent one by one from the
loader's processes, and to the device). Without augmentation, as in evaluation, they are the annotation.

| field             | shape      | type    | unit and frame |
|-------------------|------------|---------|----------------|
| keypoints_2d      | (N, K, 3)  | float32 | sides of the square, from -0.5 (left, top) to 0.5; confidence |
| keypoints_3d      | (N, K, 4)  | float32 | metres, axes of the crop's camera, any origin; confidence |
| fitted_keypoints_2d * | (N, K, 3) | float32 | as ``keypoints_2d`` |
| part_boxes *      | (N, 3, 5)  | float32 | sides of the square, as ``keypoints_2d``; confidence |
| global_orient     | (N, 1, 3)  | float32 | axis-angle, radians, body to the crop's camera |
| body_pose and so on, betas, expression | (N, ...) | float32 | as above, mirrored where the crop is |
| has_global_orient | (N,)       | float32 | 1: known; 0: zeros stand there |
| has_body_pose and so on | (N,) | float32 | the same |

``data_samples.gt_instances``, what metrics read: the annotation in the image, never augmented. Arrays, N = 1.

| field                | shape     | type    | unit and frame |
|----------------------|-----------|---------|----------------|
| keypoints            | (N, K, 2) | float32 | pixels of the image |
| keypoints_confidence | (N, K)    | float32 | 0: not annotated |
| bbox_centers         | (N, 2)    | float32 | pixels of the image, (x, y): ``center`` above |
| bbox_scales          | (N, 2)    | float32 | pixels of the image, (width, height): ``scale`` above |

``data_samples.metainfo``:

| field         | shape  | type    | unit and frame |
|---------------|--------|---------|----------------|
| sample_key, dataset_name, sample_idx, img_path | | | as above |
| layout        |        | str     | name of the layout |
| ori_shape     | (2,)   | tuple   | (height, width) of the image |
| img_shape     | (2,)   | tuple   | (height, width) of ``inputs`` |
| input_size    | (2,)   | tuple   | (width, height) of ``inputs`` |
| box_center    | (2,)   | float32 | centre of the square crop, pixels of the image (not mirrored) |
| box_size      |        | float   | side of the square crop in pixels of the image |
| box_rotation  |        | float   | degrees by which the crop turns the (mirrored) person counter-clockwise |
| flip          |        | bool    | whether the crop is mirrored |
| crop_matrix   | (2, 3) | float32 | pixels of the image -> pixels of the square crop, mirroring included |

A confidence of 0 says that a joint or box is not annotated; what stands beside it means nothing, but is
finite.

Convention:
    Camera: x right, y down, z forward, metres. A joint that is annotated has the same place in the crop
    whether one maps its image pixels by ``crop_matrix`` or reads ``keypoints_2d``: ``crop_matrix @ (x, y, 1)
    / side - 0.5``, with the side of the square crop in its own pixels. Without rotation and flip that is
    ``(pixel - box_center) / box_size``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mmhier.body_models.joint_sets import JOINT_SETS, JointSet

META_KEYS = (
    'sample_key', 'dataset_name', 'sample_idx', 'img_path', 'layout', 'ori_shape', 'img_shape', 'input_size',
    'box_center', 'box_size', 'box_rotation', 'flip', 'crop_matrix',
)  # fmt: skip
# Parts of a whole body that have boxes.
PARTS = ('left_hand', 'right_hand', 'face')


@dataclass(frozen=True)
class SampleLayout:
    """Which fields a sample has, and how large they are, for a kind of body.

    Attributes:
        name: As configs and ``metainfo`` name it.
        joints: Joint set of the keypoints.
        pelvis: The joint that bodies are compared at.
        skeleton: Joint set of the body model's rotations, the root first, then those of ``body_pose``.
        num_body: Rotations of ``body_pose``.
        num_hand: Rotations of each hand; 0: there are none, nor a jaw, an expression, boxes of parts and
            ``fitted_keypoints_2d``.
        num_betas: Components of shape.
        num_expressions: Components of expression.
        crop_size: Side of the square crop, pixels.
        input_size_wh: Width and height of ``inputs``, the middle of the crop.
    """

    name: str
    joints: JointSet
    pelvis: str
    skeleton: JointSet
    num_body: int
    num_hand: int = 0
    num_betas: int = 10
    num_expressions: int = 0
    crop_size: int = 256
    input_size_wh: tuple[int, int] = (192, 256)

    @property
    def has_parts(self) -> bool:
        """Whether hands and face are bodies' own."""
        return self.num_hand > 0

    @cached_property
    def pelvis_index(self) -> int:
        """Number of ``pelvis`` among the joints."""
        return self.joints.index(self.pelvis)

    @cached_property
    def rotations(self) -> dict[str, int]:
        """Field of pose -> how many rotations it holds, without the root's."""
        hands = {f'{side}_hand_pose': self.num_hand for side in ('left', 'right')} | {'jaw_pose': 1}
        return {'body_pose': self.num_body} | (hands if self.has_parts else {})

    @cached_property
    def coefficients(self) -> dict[str, int]:
        """Field of shape -> how many components it holds."""
        return {'betas': self.num_betas} | ({'expression': self.num_expressions} if self.has_parts else {})

    @cached_property
    def known_by(self) -> dict[str, tuple[str, ...]]:
        """Flag -> the parameters that it says to be known."""
        flags = {f'has_{name}': (name,) for name in (*self.rotations, *self.coefficients)}
        return flags | {'has_body_pose': ('global_orient', 'body_pose')}

    @cached_property
    def keypoint_fields(self) -> tuple[str, ...]:
        """Fields whose rows end with a confidence."""
        return tuple(self._keypoint_shapes)

    @cached_property
    def annotation_shapes(self) -> dict[str, tuple[int, ...]]:
        """Field -> shape in the pipeline."""
        return (
            self._keypoint_shapes
            | self._parameter_shapes
            | {'center': (2,), 'scale': (2,)}
            | dict.fromkeys((*self.known_by, 'fitting_error'), ())
        )

    @cached_property
    def label_shapes(self) -> dict[str, tuple[int, ...]]:
        """Fields of gt_instance_labels, without N."""
        flags = dict.fromkeys(('has_global_orient', *self.known_by), ())
        return self._keypoint_shapes | self._parameter_shapes | flags

    @cached_property
    def instance_shapes(self) -> dict[str, tuple[int, ...]]:
        """Fields of gt_instances, without N."""
        count = len(self.joints)
        return {
            'keypoints': (count, 2),
            'keypoints_confidence': (count,),
            'bbox_centers': (2,),
            'bbox_scales': (2,),
        }

    @cached_property
    def dtype(self) -> np.dtype:
        """Of a record with the fields of ``annotation_shapes``, float32."""
        return np.dtype([(name, '<f4', shape) for name, shape in self.annotation_shapes.items()])

    @cached_property
    def joint_flip(self) -> np.ndarray:
        """(K,) which joint of a person becomes each joint of the mirrored one."""
        return np.array(self.joints.flip)

    @cached_property
    def mirrored(self) -> dict[str, tuple[str, np.ndarray | slice]]:
        """Field of pose -> field and rows of the pose whose mirror image it becomes."""
        body = np.array(self.skeleton.flip[1 : 1 + self.num_body]) - 1
        fields = {name: (name, slice(None)) for name in self.rotations} | {'body_pose': ('body_pose', body)}
        if self.has_parts:
            fields['left_hand_pose'] = 'right_hand_pose', slice(None)
            fields['right_hand_pose'] = 'left_hand_pose', slice(None)
        return fields

    @property
    def margin(self) -> int:
        """Columns of the square at the left of the input."""
        return (self.crop_size - self.input_size_wh[0]) // 2

    @cached_property
    def _keypoint_shapes(self) -> dict[str, tuple[int, ...]]:
        count = len(self.joints)
        shapes = {'keypoints_2d': (count, 3), 'keypoints_3d': (count, 4)}
        parts = {'fitted_keypoints_2d': (count, 3), 'part_boxes': (len(PARTS), 5)}
        return shapes | (parts if self.has_parts else {})

    @cached_property
    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        rotations = {name: (count, 3) for name, count in {'global_orient': 1, **self.rotations}.items()}
        return rotations | {name: (count,) for name, count in self.coefficients.items()}


SMPL_LAYOUT = SampleLayout(
    'smpl', JOINT_SETS['hmr44'], pelvis='pelvis_mpii', skeleton=JOINT_SETS['smpl24'], num_body=23
)
SMPLX_LAYOUT = SampleLayout(
    'smplx',
    JOINT_SETS['smplx137'],
    pelvis='pelvis',
    skeleton=JOINT_SETS['smplx53'],
    num_body=21,
    num_hand=15,
    num_expressions=10,
    crop_size=512,
    input_size_wh=(384, 512),
)
LAYOUTS = {layout.name: layout for layout in (SMPL_LAYOUT, SMPLX_LAYOUT)}


def sample_layout(name: str | SampleLayout) -> SampleLayout:
    """The layout of that name.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(name, SampleLayout):
        return name
    if name not in LAYOUTS:
        raise ValueError(f'there is no layout {name!r} of samples; there are: {", ".join(LAYOUTS)}')
    return LAYOUTS[name]


def layout_of(results: Mapping[str, Any]) -> SampleLayout:
    """The layout of a sample in the pipeline."""
    return results.get('layout', SMPL_LAYOUT)
