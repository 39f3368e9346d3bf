"""Which annotations HMR2.0 trusts (its configuration ``low1``).

Its steps, in this order: forget uncertain 2-D joints; forget shapes with an extreme component; forget
improbable poses; keep pose and shape both or neither; leave out people with too few joints or a badly
fitting body; where the shape is unknown, supervise it with the mean shape. Leaving people out is
:class:`PersonFilter` and happens once, when a data set is opened; the rest are transforms of each sample.
"""

from collections.abc import Mapping

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS
from scipy.ndimage import gaussian_filter

from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.geometry.array_rotations import wrap_axis_angle
from mmhier.mesh_sample import layout_of
from mmhier.safe_files import read_npy

MIN_CONFIDENCE = 0.3

# Density below which a rotation of a joint is improbable; chosen by hand by the authors of HMR2.0. The joints
# are those of SMPL after the pelvis, without the hands.
_LEFT_THRESHOLDS = {
    'left_hip': 5e-5, 'left_knee': 5e-6, 'left_ankle': 5e-6, 'left_foot': 0, 'left_collar': 4.5e-4,
    'left_shoulder': 2e-4, 'left_elbow': 4e-5, 'left_wrist': 1e-3,
}  # fmt: skip
POSE_THRESHOLDS = (
    {'spine1': 2e-3, 'spine2': 0.01, 'spine3': 0.025, 'neck': 2e-4, 'head': 5e-4}
    | _LEFT_THRESHOLDS
    | {name.replace('left', 'right'): value for name, value in _LEFT_THRESHOLDS.items()}
)
PRIOR_JOINTS = JOINT_SETS['smpl24'].names[1:22]


class PersonFilter:
    """Leaves out people about whom too little is known.

    Args:
        min_keypoints: How many 2-D joints have to be known.
        min_confidence: Confidence from which on a joint is known.
        max_fitting_error: The annotated body has to fit better than this; where it is unknown it does.
        min_box_size: Pixels; the shorter side of the box has to be longer.
    """

    def __init__(
        self,
        min_keypoints: int = 5,
        min_confidence: float = MIN_CONFIDENCE,
        max_fitting_error: float = 31000.0,
        min_box_size: float = 0.0,
    ):
        self.min_keypoints = min_keypoints
        self.min_confidence = min_confidence
        self.max_fitting_error = max_fitting_error
        self.min_box_size = min_box_size

    def problems(
        self, confidence: np.ndarray, scale: np.ndarray, fitting_error: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        """Say who is left out.

        Args:
            confidence: (N, K) of the 2-D joints.
            scale: (N, 2), pixels.
            fitting_error: (N,), NaN where unknown.

        Returns:
            Reason -> (N,) bool.
        """
        known = ((confidence >= self.min_confidence) & (confidence > 0)).sum(1)
        return {
            f'fewer than {self.min_keypoints} joints': known < self.min_keypoints,
            f'body fits worse than {self.max_fitting_error:g}': fitting_error >= self.max_fitting_error,
            f'box not larger than {self.min_box_size:g} pixels': scale.min(1) <= self.min_box_size,
        }


@TRANSFORMS.register_module()
class SuppressKeypoints(BaseTransform):
    """Forget 2-D joints that are uncertain.

    Args:
        min_confidence: Confidence from which on a joint is kept.
    """

    def __init__(self, min_confidence: float = MIN_CONFIDENCE):
        self.min_confidence = min_confidence

    def transform(self, results: dict) -> dict:
        """Set confidences to 0."""
        for name in ('keypoints_2d', 'fitted_keypoints_2d'):
            if name in results:
                keypoints = results[name]
                keypoints[keypoints[:, 2] < self.min_confidence, 2] = 0
        return results


@TRANSFORMS.register_module()
class SuppressBodyParameters(BaseTransform):
    """Forget shapes and poses that cannot be right.

    Who loses the pose of a whole body loses those of hands and jaw and the expression as well.

    Args:
        max_beta: Largest component of a shape, in either direction.
        pose_histogram: File of the pose prior, see :class:`PosePrior`; None trusts all poses.
        both_or_neither: Without the shape forget the pose as well, and the other way round.
        mean_shape_if_unknown: Supervise an unknown shape with zeros.
    """

    def __init__(
        self,
        max_beta: float = 3.0,
        pose_histogram: str | None = None,
        both_or_neither: bool = True,
        mean_shape_if_unknown: bool = True,
    ):
        self.max_beta = max_beta
        self.prior = None if pose_histogram is None else PosePrior(pose_histogram)
        self.both_or_neither = both_or_neither
        self.mean_shape_if_unknown = mean_shape_if_unknown

    def transform(self, results: dict) -> dict:
        """Change ``betas`` and flags."""
        pose, shape = results['has_body_pose'] > 0, results['has_betas'] > 0
        shape = shape and bool((np.abs(results['betas']) <= self.max_beta).all())
        if pose and self.prior is not None:
            pose = self.prior.is_probable(results['body_pose'])
        if self.both_or_neither:
            pose = shape = pose and shape
        if results['has_body_pose'] > 0 and not pose:
            for flag in layout_of(results).known_by:
                results[flag] = 0.0
        if self.mean_shape_if_unknown and not shape:
            results['betas'] = np.zeros_like(results['betas'])
            shape = True
        results['has_body_pose'], results['has_betas'] = float(pose), float(shape)
        return results


class PosePrior:
    """How often each joint is turned how, over motion capture.

    Args:
        path: Histogram (21, B, B, B) of axis-angle vectors, each axis from -pi to pi: counts, as in
            ``amass_poses_hist100_SMPL+H_G.npy`` of the training data of HMR2.0.
        sigma: Width of the Gaussian that smooths it, bins.
        thresholds: Joint -> density that has to be exceeded.

    Raises:
        ValueError: If it is not such a file.
    """

    def __init__(self, path: str, sigma: float = 2.0, thresholds: Mapping[str, float] = POSE_THRESHOLDS):
        counts = read_npy(path)
        if counts.dtype.kind not in 'fiu':
            raise ValueError(f'{path} is not an npy file of numbers')
        if counts.ndim != 4 or counts.shape[0] != len(PRIOR_JOINTS) or len(set(counts.shape[1:])) != 1:
            raise ValueError(
                f'{path}: expected counts ({len(PRIOR_JOINTS)}, bins, bins, bins), got {counts.shape}'
            )
        if not np.isfinite(counts).all() or (counts < 0).any() or not counts.any():
            raise ValueError(f'{path}: counts must be finite, not negative, and not all zero')
        self.bins = counts.shape[1]
        density = counts / counts.sum() / (2 * np.pi / self.bins) ** 3
        # The joints are smoothed into one another as well: that is how the thresholds were chosen.
        self.density = gaussian_filter(density, sigma, mode='constant').astype(np.float32)
        self.thresholds = np.array([thresholds[name] for name in PRIOR_JOINTS])

    def is_probable(self, body_pose: np.ndarray) -> bool:
        """Whether none of the joints (R, 3), SMPL's after the pelvis, is turned in an improbable way."""
        rotations = wrap_axis_angle(body_pose[: len(PRIOR_JOINTS)].astype(np.float64))
        place = ((rotations + np.pi) / (2 * np.pi) * (self.bins - 1e-6)).astype(int).clip(0, self.bins - 1)
        density = self.density[(np.arange(len(rotations)), *place.T)]
        density[((rotations < -np.pi) | (rotations >= np.pi)).any(1)] = 0
        return bool((density > self.thresholds).all())
