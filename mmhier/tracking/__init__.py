"""People over time: stable ids, boxes for frames without detection, and smoothing."""

from mmhier.tracking.association import boxes_from_keypoints
from mmhier.tracking.smoothing import (
    OneEuroFilter,
    RotationFilter,
    TrackSmoother,
    TrendFilter,
    smooth_rotations,
    smooth_rotations_both_ways,
)
from mmhier.tracking.tracker import Tracker

__all__ = [
    'OneEuroFilter',
    'RotationFilter',
    'TrackSmoother',
    'Tracker',
    'TrendFilter',
    'boxes_from_keypoints',
    'smooth_rotations',
    'smooth_rotations_both_ways',
]
