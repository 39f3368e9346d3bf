"""Several data sets drawn by weight, as a pure function of seed and number of the draw.

What draw number n of a run gives, down to its augmentation, depends on the seed and n only: not on the number
of processes, workers or batches. So processes get disjoint draws simply by taking every other number, and a
run is resumed by going on with the next.

Weights are kept exactly: every block of draws has its share of each data set, in random order. Each data set
is gone through in a random order, to the end, before the next round begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmpose.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler

from mmhier.datasets.mesh.mesh_dataset import Draw, MeshDataset

# Weights of HMR2.0's mix; COCO twice: with bodies fitted to its own joints and to those of ViTPose.
HMR2_WEIGHTS = {
    'h36m': 0.1, 'mpii': 0.1, 'coco': 0.1, 'coco_vitpose': 0.1, 'mpi_inf_3dhp': 0.02, 'ava': 0.19,
    'aic': 0.19, 'insta': 0.2,
}  # fmt: skip
STRATEGIES = ('balanced', 'concatenated')
MIN_BLOCK = 1000


@DATASETS.register_module()
class MixedDataset(Dataset):
    """Data sets drawn by weight.

    Args:
        datasets: Data sets (:class:`MeshDataset` or configs of them).
        weights: One per data set; or name -> weight, of those that ``datasets`` have; or 'balanced': all data
            sets are equally likely, as in SMPLer-X's mixes; or 'concatenated', the default: everybody in all
            of them is.
        epoch_size: Draws that count as an epoch; by default the number of people in all data sets.
        common: Arguments of all configs in ``datasets`` that do not have them, such as ``pipeline``.

    Raises:
        ValueError: If weights do not belong to the data sets, or those have different joints.
    """

    def __init__(
        self,
        datasets: Sequence[dict | MeshDataset],
        weights: Sequence[float] | Mapping[str, float] | str | None = None,
        epoch_size: int | None = None,
        common: Mapping[str, Any] | None = None,
    ):
        common = dict(common or {})
        self.datasets = [
            DATASETS.build(common | dict(item)) if isinstance(item, dict) else item for item in datasets
        ]
        check_joints(self.datasets)
        sizes = [len(dataset) for dataset in self.datasets]
        if isinstance(weights, str):
            if weights not in STRATEGIES:
                raise ValueError(f'weights={weights!r}: expected numbers or one of {", ".join(STRATEGIES)}')
            weights = None if weights == 'concatenated' else [1.0] * len(sizes)
        if isinstance(weights, Mapping):
            names = [dataset.name for dataset in self.datasets]
            if set(names) != set(weights):
                raise ValueError(f'weights are for {sorted(weights)}, the data sets are {sorted(names)}')
            weights = [weights[name] for name in names]
        shares = np.array(sizes if weights is None else weights, float)
        if len(shares) != len(sizes) or not len(sizes) or not (shares > 0).all() or not all(sizes):
            raise ValueError(f'weights must be positive, one per data set that is not empty; got {weights}')
        self.shares = shares / shares.sum()
        self.epoch_size = epoch_size or sum(sizes)
        # With two draws or more of each, rounding never asks for a negative number.
        self._block = max(MIN_BLOCK, int(np.ceil(2 / self.shares.min())))
        self._blocks: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        self._orders: dict[tuple[int, int], tuple[int, np.ndarray]] = {}

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the first data set."""
        return self.datasets[0].metainfo

    @property
    def num_skipped(self) -> dict[str, int]:
        """How often a sample of each data set was of no use."""
        return {dataset.name: dataset.num_skipped for dataset in self.datasets}

    def __len__(self) -> int:
        return self.epoch_size

    def __getitem__(self, draw: Draw | int) -> Any:
        draw = draw if isinstance(draw, Draw) else Draw(0, int(draw))
        number, index = self.locate(draw)
        return self.datasets[number].fetch(index, draw.rng())

    def locate(self, draw: Draw) -> tuple[int, int]:
        """Number of the data set and of the sample in it."""
        block, position = divmod(draw.number, self._block)
        chosen, counts = self._block_order(draw.seed, block)
        number = int(chosen[position])
        return number, self._sample(draw.seed, number, int(counts[position]))

    def _block_order(self, seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Data set of each draw of a block, and how often it has been drawn before."""
        if (seed, block) not in self._blocks:
            before, after = self._drawn(block * self._block), self._drawn((block + 1) * self._block)
            chosen = np.repeat(np.arange(len(before)), after - before)
            chosen = _generator(seed, 0, block).permutation(chosen)
            counts = np.empty_like(chosen)
            for number, first in enumerate(before):
                own = chosen == number
                counts[own] = first + np.arange(own.sum())
            if len(self._blocks) > 8:
                self._blocks.clear()
            self._blocks[seed, block] = chosen, counts
        return self._blocks[seed, block]

    def _drawn(self, total: int) -> np.ndarray:
        """How often each data set is among the first draws; their sum is ``total``."""
        ends = np.floor(np.cumsum(self.shares) * total + 0.5).astype(np.int64)
        ends[-1] = total
        return np.diff(ends, prepend=0)

    def _sample(self, seed: int, number: int, count: int) -> int:
        """The sample that a data set gives at its draw ``count``."""
        turn, position = divmod(count, len(self.datasets[number]))
        if self._orders.get((seed, number), (-1,))[0] != turn:
            order = _generator(seed, 1 + number, turn).permutation(len(self.datasets[number]))
            self._orders[seed, number] = turn, order.astype(np.int32)
        return int(self._orders[seed, number][1][position])


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler):
    """Numbers of draws for :class:`MixedDataset`: every process its own, from where the run stopped.

    Args:
        dataset: The :class:`MixedDataset`.
        seed: Of the run; by default agreed on by all processes.
        infinite: Never end, for loops that count iterations. Otherwise an epoch gives all processes the same
            number of draws, ``len(dataset)`` divided by the processes, rounded down.
    """

    def __init__(self, dataset: MixedDataset, seed: int | None = None, infinite: bool = True):
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.infinite = infinite
        self.start = 0
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin at an epoch; without effect on an infinite sampler."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset) // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        first = self.start
        if not self.infinite:
            first += self.epoch * len(self) * self.world_size
        count = 0
        while self.infinite or count < len(self):
            yield Draw(self.seed, first + count * self.world_size + self.rank)
            count += 1


def check_joints(datasets: Sequence[MeshDataset]) -> None:
    """Make sure that all data sets have samples of one kind, which a batch can hold.

    Raises:
        ValueError: If the joints of some are other ones.
    """
    kinds: dict[tuple, list[str]] = {}
    for dataset in datasets:
        joints = tuple(dataset.metainfo['keypoint_id2name'].values())
        kinds.setdefault(joints, []).append(dataset.name)
    if len(kinds) > 1:
        text = '; '.join(f'{", ".join(names)}: {len(joints)} joints' for joints, names in kinds.items())
        raise ValueError(
            f'data sets of bodies (SMPL) and of whole bodies (SMPL-X) do not go into one batch ({text}): '
            'read all of them as the one or the other'
        )


def _generator(seed: int, stream: int, part: int) -> np.random.Generator:
    """Random numbers of one purpose."""
    return np.random.default_rng((seed, 1 << 32, stream, part))
