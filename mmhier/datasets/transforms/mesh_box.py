"""Which square of the image becomes the crop, and how it is turned and mirrored."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS

from mmhier.datasets.transforms.mesh_crops import choose_part, part_box
from mmhier.mesh_sample import layout_of


@TRANSFORMS.register_module()
class MeshBox(BaseTransform):
    """The square around the annotated box, for evaluation.

    Args:
        aspect_wh: The annotated box is first enlarged to this shape (width, height); None leaves it as it is.
            HMR2.0 is trained without and evaluated with (192, 256): its crops in training are tighter.
    """

    def __init__(self, aspect_wh: tuple[float, float] | None = (192, 256)):
        self.aspect_wh = aspect_wh

    def transform(self, results: dict) -> dict:
        """Add ``box_center``, ``box_size``, ``box_rotation`` and ``flip``."""
        results['box_center'] = results['center'].astype(np.float32)
        results['box_size'] = square_side(results['scale'], self.aspect_wh)
        results['box_rotation'] = 0.0
        results['flip'] = False
        return results


@TRANSFORMS.register_module()
class RandomMeshBox(BaseTransform):
    """A randomly changed square, for training; numbers are those of HMR2.0.

    Args:
        aspect_wh: See :class:`MeshBox`.
        shift: Deviation of the shift along each axis, in sides of the square, at most once that.
        scale: Deviation of the factor on the side from 1, at most once that.
        rotation: Deviation of the rotation, degrees, at most twice that.
        rotation_chance: How often there is one.
        flip_chance: How often the crop is mirrored.
        extreme_crop_chance: How often it shows a part of the person, see
            :mod:`mmhier.datasets.transforms.mesh_crops`.
    """

    def __init__(
        self,
        aspect_wh: tuple[float, float] | None = None,
        shift: float = 0.02,
        scale: float = 0.3,
        rotation: float = 30.0,
        rotation_chance: float = 0.6,
        flip_chance: float = 0.5,
        extreme_crop_chance: float = 0.1,
    ):
        self.aspect_wh = aspect_wh
        self.shift = shift
        self.scale = scale
        self.rotation = rotation
        self.rotation_chance = rotation_chance
        self.flip_chance = flip_chance
        self.extreme_crop_chance = extreme_crop_chance

    def transform(self, results: dict) -> dict:
        """Add ``box_center``, ``box_size``, ``box_rotation`` and ``flip``."""
        rng = results.get('rng', np.random)
        normal, chances = rng.normal(size=4), rng.uniform(size=4)
        center, side = results['center'], square_side(results['scale'], self.aspect_wh)
        if chances[0] < self.extreme_crop_chance:
            keypoints, joints = results['keypoints_2d'], layout_of(results).joints
            part = choose_part(keypoints, chances[1], joints)
            box = None if part is None else part_box(keypoints, part, joints)
            center, side = (center, side) if box is None else box
        shift = normal[:2].clip(-1, 1) * self.shift * side
        results['box_center'] = (center + shift).astype(np.float32)
        results['box_size'] = float(side * (1 + normal[2].clip(-1, 1) * self.scale))
        turned = chances[2] < self.rotation_chance
        results['box_rotation'] = float(normal[3].clip(-2, 2) * self.rotation) if turned else 0.0
        results['flip'] = bool(chances[3] < self.flip_chance)
        return results


def square_side(box_wh: np.ndarray, aspect_wh: tuple[float, float] | None = None) -> float:
    """Side of the square around a box (2,) that is first enlarged to a shape."""
    width, height = (float(side) for side in box_wh)
    if aspect_wh is not None:
        ratio = aspect_wh[0] / aspect_wh[1]
        width, height = max(width, height * ratio), max(height, width / ratio)
    return max(width, height)
