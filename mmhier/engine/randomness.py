"""Random numbers of training as a function of the seed and the place in the run.

Before each step, and before each sample is loaded, the generators of torch, numpy and Python are seeded with
a number made from the run's seed and the place: of the step its number, of the sample the process, the turn
through the data (the epoch), the batch and the position in it. So a run that is resumed gets the random
numbers that it would have got, without any generator being saved: for drop path, dropout, augmentation and
choices of people, in the main process or in any number of workers, however far these have read ahead.

The place of a sample travels with its index: :class:`PlacedBatches` wraps the loader's batches of indices and
can begin after any of them, without loading what lies before.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import get_rank
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmhier.datasets.mesh.mesh_dataset import Draw

STEP, ORDER, SAMPLE = range(3)  # what random numbers are for


class Place(NamedTuple):
    """The index of a sample, and the key of its random numbers."""

    index: Any
    key: tuple[int, ...]


def seed_step(seed: int, step: int) -> None:
    """Seed everything for a step of training, on all devices."""
    torch.manual_seed(_seed_arrays(seed, STEP, step))


def _seed_arrays(*key: int) -> int:
    """Seed numpy and Python; return the number for torch."""
    words = np.random.SeedSequence(key).generate_state(8)
    np.random.seed(words)  # noqa: NPY002 (the one that pipelines draw from)
    random.seed(words.tobytes())
    return int(words[:2].view(np.uint64)[0] >> np.uint64(1))


class PlacedBatches:
    """Batches of indices with their places; otherwise what it wraps.

    Without a seed there are none. MMEngine's loop for iterations begins to load before a run is resumed, and
    with samplers that remember what they have given that would be lost.

    Args:
        batches: The loader's batch sampler.
    """

    def __init__(self, batches: Any):
        self.batches = batches
        self.seed: int | None = None
        self.turn = 0
        self.skip = 0

    def __getattr__(self, name: str) -> Any:
        if name == 'batches':  # not there yet, while this is unpickled
            raise AttributeError(name)
        return getattr(self.batches, name)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Place]]:
        if self.seed is None:
            return
        key = (self.seed, SAMPLE, get_rank(), self.turn)
        for number, batch in islice(enumerate(self.batches), self.skip, None):
            yield [
                # A draw says itself what it depends on, whatever the number of processes and the batch size.
                Place(index, (SAMPLE, *index) if isinstance(index, Draw) else (*key, number, position))
                for position, index in enumerate(batch)
            ]


class _Items:
    """Loads the samples of a batch, each with the random numbers of its place."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __call__(self, places: Sequence[Place]) -> Sequence:
        whole_batch = getattr(type(self.dataset), '__getitems__', None)
        if whole_batch is not None:
            if isinstance(places[0], Place):
                self._seed(places[0])
                places = [place.index for place in places]
            return whole_batch(self.dataset, places)
        items = []
        for place in places:
            if isinstance(place, Place):  # otherwise another loader of the same data set asks
                self._seed(place)
                place = place.index
            items.append(self.dataset[place])
        return items

    @staticmethod
    def _seed(place: Place) -> None:
        torch.default_generator.manual_seed(_seed_arrays(*place.key))


def place_samples(loader: DataLoader) -> None:
    """Have a loader give every sample the random numbers of its place.

    Streams, which have no indices, stay as they are.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return
    # The loader refuses to have its batches replaced, since its workers would not notice; it has none yet.
    object.__setattr__(loader, 'batch_sampler', PlacedBatches(loader.batch_sampler))
    # With this name torch hands all indices of a batch to the data set.
    loader.dataset.__getitems__ = _Items(loader.dataset)


def begin_turn(loader: DataLoader, seed: int, turn: int, skip: int = 0) -> Iterator:
    """Begin to load.

    Args:
        loader: A loader after :func:`place_samples`.
        seed: Of the run.
        turn: Number of the turn through the data; its sampler has been told.
        skip: So many batches are left out, without being loaded.
    """
    batches = loader.batch_sampler
    batches.seed, batches.turn, batches.skip = seed, turn, skip
    torch.manual_seed(_seed_arrays(seed, ORDER, turn))  # torch's own samplers shuffle with the global one
    return iter(loader)
