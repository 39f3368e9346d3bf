"""Pure functions over arrays; no MMEngine."""

from mmhier.evaluation.functional.unified import phi_pose_2d

__all__ = ['phi_pose_2d']
