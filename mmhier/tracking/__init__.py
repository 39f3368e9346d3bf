"""People over time: stable ids, boxes for frames without detection, and smoothing."""

from mmhier.tracking.association import boxes_from_keypoints
from mmhier.tracking.smoothing import (
    OneEuroFilter,
    RotationFilter,
    TrackSmoother,
    smooth_rotations,
)
from mmhier.tracking.tracker import Tracker

__all__ = [
    'OneEuroFilter',
    'RotationFilter',
    'TrackSmoother',
    'Tracker',
    'boxes_from_keypoints',
    'smooth_rotations',
]
