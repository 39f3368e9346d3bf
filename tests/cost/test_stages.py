"""The stages of a pipeline, from JPEG to keypoints."""

import cv2
import numpy as np
import pytest

from mmhier.cost.macs import build_model
from mmhier.cost.stages import STAGES, sample_picture, time_stages
from mmhier.zoo.names import find_configs


@pytest.mark.parametrize('name', ['swinpose_micro_s3_synth', 'vitpose_s_simple_coco'])
def test_every_stage_is_timed(name):
    (path,) = find_configs([name])
    timings = time_stages(path, build_model(path)[0], batch=2, runs=1)
    assert tuple(timings) == STAGES
    assert all(timing.median >= 0 for timing in timings.values())
    assert timings['encoder'].median > timings['neck'].median


def test_picture_is_a_jpeg_and_always_the_same():
    codes = sample_picture()
    assert codes == sample_picture() and codes != sample_picture(seed=1)
    assert cv2.imdecode(np.frombuffer(codes, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
