"""Results of inference without a model: random keypoints of three names."""

from typing import Any

import numpy as np

from mmhier.results.frame_result import FrameResult, Person

NAMES = ('nose', 'left_hip', 'right_hip')


def make_result(number: int = 0, people: int = 2, **more: Any) -> FrameResult:
    """Make the result of a frame of 96 x 128 pixels.

    Args:
        number: Number of the frame, at 25 per second; seeds the keypoints.
        people: How many.
        more: Fields that are to be different.
    """
    rng = np.random.default_rng(number)
    found = [
        Person(
            np.array([10, 10, 60, 80], np.float32) + 3 * n,
            rng.uniform(10, 60, (3, 2)).astype(np.float32),
            rng.uniform(0.5, 1, 3).astype(np.float32),
            0.9,
        )
        for n in range(people)
    ]
    given = dict(source='clip.mp4', frame_index=number, image_hw=(96, 128), people=found, time_s=number / 25)
    given |= dict(keypoint_names=NAMES, skeleton=((0, 1), (1, 2)), model='a_model', kind='video', fps=25.0)
    return FrameResult(**given | more)
