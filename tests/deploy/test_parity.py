"""The numbers of a comparison."""

import pytest
import torch

from mmhier.deploy.graphs import run_model
from mmhier.deploy.parity import compare


def test_numbers_of_a_known_shift(pose_model, images):
    model = pose_model('vit')
    expected = run_model(model, images)
    people = model.head.decode(expected['heatmaps'])
    keypoints = torch.stack([torch.as_tensor(person.keypoints[0]) for person in people])
    keypoints[0, :, 0] += 3.0  # 5 of 20
    found = dict(keypoints=keypoints * torch.tensor([47 / 48, 63 / 64]))  # plain pixels, as a graph returns
    parity = compare(model, expected, found, bound=1.0)
    assert parity.passed and (parity.crops, parity.values) == (4, 20)
    numbers = dict(mean=0.75, median=0.0, p99=3.0, max=3.0, share_beyond_2=0.25)
    assert parity.differences['keypoints'] == pytest.approx(numbers, abs=1e-4)
    assert not compare(model, expected, found, bound=0.7).passed
    assert not compare(model, expected, found, 'float32').passed
