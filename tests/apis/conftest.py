import cv2
import numpy as np
import pytest
import torch

POSE, MESH = 'swinpose_micro_s3_synth', 'swinhmr2_micro_s3_synth'


@pytest.fixture(scope='session')
def pose_inferencer():
    """A small pose model with random weights; batches of four people."""
    from mmhier.apis import Inferencer

    torch.manual_seed(0)
    return Inferencer(POSE, 'random', 'cpu', batch_size=4)


@pytest.fixture(scope='session')
def mesh_inferencer(anny):
    """A small mesh model with random weights, which tracks."""
    from mmhier.apis import Inferencer

    torch.manual_seed(0)
    return Inferencer(MESH, 'random', 'cpu', batch_size=4, track=True)


@pytest.fixture(scope='session')
def mesh_results(mesh_inferencer, pictures):
    """Two people who move slowly through four frames of a clip, without their pictures."""
    results = []
    for number, result in enumerate(mesh_inferencer(pictures[:4], BOXES)):
        result.image, result.kind, result.source, result.fps = None, 'video', 'clip.mp4', 25.0
        result.time_s = number / 25
        results.append(result)
    return results


# Two people, on pictures of 96 x 128.
BOXES = [[8, 6, 60, 90, 1.0], [70, 10, 120, 92, 0.8]]


@pytest.fixture(scope='session')
def pictures():
    """Six noisy pictures of 96 x 128 pixels."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 12, 16, 3), np.uint8)
    return [cv2.resize(image, (128, 96), interpolation=cv2.INTER_CUBIC) for image in small]
