import random

import numpy as np
import pytest
import torch
from mmpose.registry import DATASETS
from mmpose.structures import PoseDataSample

from mmhier.datasets.repeated_views import RepeatedViews, seeded


@DATASETS.register_module()
class Noise:
    """A sample is noise of three generators."""

    metainfo = dict(dataset_name='noise')

    def __len__(self):
        return 3

    def __getitem__(self, index):
        noise = [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002
        pixels = torch.tensor([[index], *[[int(255 * value)] for value in noise]], dtype=torch.uint8)
        return dict(inputs=pixels, data_samples=PoseDataSample())


def drawn(dataset, index, times=30):
    found = {}
    for _ in range(times):
        sample = dataset[index]
        found[sample['data_samples'].crop_key] = tuple(sample['inputs'].flatten().tolist())
    return found


def test_a_sample_has_so_many_views_and_each_its_key():
    dataset = RepeatedViews(dict(type='Noise'), views=3, seed=1)
    views = [drawn(dataset, index) for index in range(len(dataset))]
    assert [len(found) for found in views] == [3, 3, 3]
    assert len({pixels for found in views for pixels in found.values()}) == 9
    assert views[0] == drawn(RepeatedViews(dict(type='Noise'), views=3, seed=1), 0), 'again in another run'
    assert not views[0].keys() & drawn(RepeatedViews(dict(type='Noise'), views=3, seed=2), 0).keys()
    assert dataset.metainfo == Noise.metainfo


def test_random_numbers_afterwards_are_those_that_would_have_come():
    def numbers():
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    for inside in (False, True):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        if inside:
            with seeded(1, 2):
                numbers()
        else:
            expected = numbers()
            continue
        assert numbers() == expected


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match='views must be a whole number above 0, got 0'):
        RepeatedViews(dict(type='Noise'), views=0)
    with pytest.raises(ValueError, match='takes samples by number'):
        RepeatedViews(dict(type='Noise'))[(0, 1)]
