"""The two names that MMPose's RTMO head takes from ``mmdet.utils``.

Unnecessary where mmdet is installed, and once ``mmpose/models/heads/hybrid_heads/rtmo_head.py`` takes them
from MMPose, which has both.
"""

from mmpose.utils.dist_utils import reduce_mean
from mmpose.utils.typing import ConfigType

__all__ = ['ConfigType', 'reduce_mean']
