"""Every sample augmented in a few fixed ways only, so that what a teacher says about its crops can be kept.

A view of a sample is what its pipeline makes of it with the random numbers of (seed, sample, view). Which
view is loaded is drawn, from the generator that the pipeline would have drawn from.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmpose.registry import DATASETS
from torch.utils.data import Dataset


@DATASETS.register_module()
class RepeatedViews(Dataset):
    """A data set around another one.

    Args:
        dataset: The other one, whose samples have numbers; its pipeline ends with ``inputs`` and
            ``data_samples``. To the latter ``crop_key`` is added, which stands for the pixels.
        views: Ways in which a sample is augmented.
        seed: Another one gives other views.

    Raises:
        ValueError: If there are no views.
    """

    def __init__(self, dataset: dict, views: int = 4, seed: int = 0):
        if not isinstance(views, int) or views < 1:
            raise ValueError(f'views must be a whole number above 0, got {views!r}')
        self.dataset = DATASETS.build(dataset)
        self.views, self.seed = views, seed

    @property
    def metainfo(self) -> dict[str, Any]:
        """Of the data set."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Load one of the views of a sample.

        Raises:
            ValueError: If samples are drawn otherwise than by number.
        """
        if not isinstance(index, int | np.integer):
            raise ValueError(
                f'RepeatedViews takes samples by number, got {index!r}: a mix of data sets draws them '
                'otherwise'
            )
        view = int(np.random.randint(self.views))  # noqa: NPY002
        with seeded(self.seed, int(index), view):
            sample = self.dataset[int(index)]
        pixels = sample['inputs'].contiguous().numpy()
        key = hashlib.blake2b(pixels, digest_size=16).hexdigest()
        sample['data_samples'].set_metainfo(dict(crop_key=key))
        return sample


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Random numbers of torch, numpy and Python that follow from a key; then those that would have come."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    words = np.random.SeedSequence(key).generate_state(8)
    random.seed(words.tobytes())
    np.random.seed(words)  # noqa: NPY002
    torch.default_generator.manual_seed(int(words[0]))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
