"""Pure functions over arrays; no MMEngine."""

from mmhier.evaluation.functional.keypoints import phi_pose_2d

__all__ = ['phi_pose_2d']
