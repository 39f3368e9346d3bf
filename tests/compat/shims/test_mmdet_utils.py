"""The two names of mmdet are MMPose's own."""

import torch

from mmhier.compat.shims import mmdet_utils


def test_names():
    value = torch.tensor(3.0)
    assert mmdet_utils.reduce_mean(value) is value  # one process
    assert dict in mmdet_utils.ConfigType.__args__
