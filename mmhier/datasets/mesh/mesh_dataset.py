"""What all data sets of mesh recovery share: the pipeline, and what happens to a sample that is of no use.

Training goes on: another sample of the same data set takes its place, the first of each kind is logged, all
are counted, over all worker processes. Which one, the sample alone decides: not its neighbour, since damage
comes in rows (a folder or a tar that is missing). Evaluation stops and names the sample.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmpose.registry import TRANSFORMS
from torch.utils.data import Dataset, get_worker_info

from mmhier.datasets.mesh.annotation import count_problems
from mmhier.datasets.transforms.mesh_filters import PersonFilter
from mmhier.datasets.transforms.mesh_loading import UnusableSample
from mmhier.mesh_sample import SampleLayout, sample_layout

_WORKERS = 1024  # of one loader, at most


class Draw(NamedTuple):
    """A sample and the randomness of its augmentation.

    Attributes:
        seed: Of the run.
        number: How many samples the run has drawn before this one, over all processes.
    """

    seed: int
    number: int

    def rng(self) -> np.random.Generator:
        """Random numbers of this draw alone."""
        return np.random.default_rng((self.seed, self.number))


class MeshDataset(Dataset):
    """Base class; a subclass has ``__len__`` and ``get_data_info``.

    Args:
        name: Names the data set to the evaluator.
        pipeline: Transforms, see :mod:`mmhier.mesh_sample`.
        test_mode: Evaluation: nothing may be left out.
        max_refetch: How many samples may be tried in the place of one in training. Where no more than one in
            a hundred is of use, 1000 fail once in 20,000 times; a data set of no more is tried as a whole.
        layout: Of the samples, 'smpl' or 'smplx'.
    """

    def __init__(
        self,
        name: str,
        pipeline: Sequence[dict] = (),
        test_mode: bool = False,
        max_refetch: int = 1000,
        layout: str | SampleLayout = 'smpl',
    ):
        self.name = name
        self.layout = sample_layout(layout)
        self.test_mode = test_mode
        self.max_refetch = max_refetch
        self.pipeline = Compose([TRANSFORMS.build(step) for step in pipeline])
        # One place for each worker process, since two would lose counts in one.
        self._skipped = torch.zeros(_WORKERS, dtype=torch.int64).share_memory_()

    @property
    def metainfo(self) -> dict[str, Any]:
        """What the visualizer and metrics need to know of the joints."""
        joints = self.layout.joints
        links = [(parent, child) for child, parent in enumerate(joints.parents) if parent >= 0]
        return dict(
            dataset_name=self.name,
            num_keypoints=len(joints),
            keypoint_id2name=dict(enumerate(joints.names)),
            keypoint_name2id={name: number for number, name in enumerate(joints.names)},
            flip_indices=list(joints.flip),
            skeleton_links=links,
        )

    @property
    def num_skipped(self) -> int:
        """How often a sample was of no use, in all processes of this machine's loader."""
        return int(self._skipped.sum())

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Fields of a sample before the pipeline.

        Raises:
            UnusableSample: If it cannot be read.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f'{self.name}: sample {index} of {len(self)}')
        return self.fetch(index)

    def fetch(self, index: int, rng: np.random.Generator | None = None) -> Any:
        """Run the pipeline on a sample, in training on another one if it is of no use.

        Args:
            index: Number of the sample.
            rng: Random numbers for augmentation; by default numpy's global ones.

        Raises:
            UnusableSample: In evaluation, or if too many others are of no use either.
        """
        tried = min(self.max_refetch + 1, len(self))
        for attempt in range(tried):
            try:
                results = self.get_data_info((index + attempt * _stride(len(self))) % len(self))
                results['layout'] = self.layout
                if rng is not None:
                    results['rng'] = rng
                return self.pipeline(results)
            except UnusableSample as error:
                if self.test_mode:
                    raise
                worker = get_worker_info()
                self._skipped[0 if worker is None else 1 + worker.id % (_WORKERS - 1)] += 1
                count = self.num_skipped
                if count <= 10 or count % 1000 == 0:
                    text = f'{self.name}: skipped sample {count}: {error}'
                    print_log(text, logger='current', level=logging.WARNING)
                last = error
        raise UnusableSample(
            f'{self.name}: {tried} of {len(self)} samples, spread over all, are of no use; the last: {last}'
        ) from last

    def select(self, people: Mapping[str, np.ndarray], person_filter: dict | None) -> np.ndarray:
        """Decide which people are used, and log how many are not, and why.

        Args:
            people: ``confidence`` (N, K) of the 2-D joints, ``scale`` (N, 2) in pixels, ``fitting_error``
                (N,), NaN where unknown, and ``problem`` (N,), numbers of ``PROBLEMS``.
            person_filter: Arguments of :class:`PersonFilter`, or None.

        Returns:
            Numbers of the people that are used.

        Raises:
            ValueError: If in evaluation anybody is left out, or if nobody is left.
        """
        problem = people['problem']
        reasons = count_problems(problem)
        keep = problem == 0
        if self.test_mode and (reasons or person_filter is not None):
            found = reasons or 'a filter is set'
            first = np.flatnonzero(~keep)[:5].tolist()
            raise ValueError(
                f'{self.name}: evaluation leaves nobody out, but of {len(keep)} people: {found}; the first: '
                f'numbers {first}. Correct the file'
            )
        if person_filter is not None:
            judged = PersonFilter(**person_filter).problems(
                people['confidence'], people['scale'], people['fitting_error']
            )
            for reason, wrong in judged.items():
                if count := int((keep & wrong).sum()):
                    reasons[reason] = count
                keep &= ~wrong
        left_out = '; '.join(f'{count}: {reason}' for reason, count in reasons.items())
        text = f'{self.name}: {int(keep.sum())} of {len(keep)} people are used'
        print_log(f'{text}; {left_out}' if left_out else text, logger='current', level=logging.INFO)
        if not keep.any():
            raise ValueError(f'{self.name}: of {len(keep)} people none can be used ({left_out or "empty"})')
        return np.flatnonzero(keep)


def _stride(length: int) -> int:
    """A step that visits all of ``length`` numbers in a ring, soon every part of it (the golden section)."""
    step = max(1, round(length * 0.618))
    while math.gcd(step, length) > 1:
        step += 1
    return step
