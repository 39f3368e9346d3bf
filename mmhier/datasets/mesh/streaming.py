"""People from tars as a stream, from object storage or whatever webdataset can open.

For those whose tars do not fit on a local disk. A stream has no length, its shuffling reaches as far as its
buffer, and a run cannot be resumed at a sample; where the tars are at hand, :class:`.MeshTarDataset` is the
better choice. Needs ``pip install webdataset``.

What is of no use is skipped, the first of each kind is logged, all are counted. The stream ends with an error
only when all tars have been gone through and none gave anything of use, neither a person whom the filter
takes nor, of such people, a picture that can be read.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmpose.registry import DATASETS, TRANSFORMS
from torch.utils.data import IterableDataset

from mmhier.datasets.mesh.annotation import count_problems, to_results
from mmhier.datasets.mesh.shard import ANNOTATION_SUFFIX, IMAGE_SUFFIXES, read_people
from mmhier.datasets.mesh.tar_dataset import DAMAGED_KEYS
from mmhier.datasets.mesh.tar_index import expand_braces
from mmhier.datasets.transforms.mesh_filters import PersonFilter
from mmhier.datasets.transforms.mesh_loading import UnusableSample


@DATASETS.register_module()
class MeshStreamDataset(IterableDataset):
    """An endless stream of people for training; each process goes through all tars in its own random order.

    Args:
        name: Names the data set.
        shards: Patterns of tars, ``s3://bucket/{000..312}.tar``, ``pipe:aws s3 cp ... -`` or paths.
        pipeline: Transforms, see :mod:`mmhier.mesh_sample`.
        person_filter: Arguments of :class:`mmhier.datasets.transforms.mesh_filters.PersonFilter`.
        buffer_size: Samples among which the next is chosen.
        exclude_keys: Samples that are never used.
        seed: Of the choice of tars and samples.
        max_in_a_row: How many samples or tars in a row may be of no use, however few tars there are.

    Raises:
        ImportError: If webdataset is not installed.
        ValueError: If there are no tars.
    """

    def __init__(
        self,
        name: str,
        shards: str | Sequence[str],
        pipeline: Sequence[dict] = (),
        person_filter: dict | None = None,
        buffer_size: int = 4000,
        exclude_keys: Sequence[str] = DAMAGED_KEYS,
        seed: int = 0,
        max_in_a_row: int = 1000,
    ):
        try:
            import webdataset  # noqa: F401
        except ImportError as error:
            raise ImportError('MeshStreamDataset needs webdataset: pip install webdataset') from error
        self.name = name
        patterns = [shards] if isinstance(shards, str) else shards
        self.urls = [url for pattern in patterns for url in expand_braces(os.path.expandvars(pattern))]
        if not self.urls:
            raise ValueError(f'{name}: no tars; shards is {shards!r}')
        self.pipeline = Compose([TRANSFORMS.build(step) for step in pipeline])
        self.filter = None if person_filter is None else PersonFilter(**person_filter)
        self.buffer_size = buffer_size
        self.exclude_keys = frozenset(exclude_keys)
        self.seed = seed
        # Reason -> how often a sample was left out, in this process.
        self.skipped: dict[str, int] = {}
        # Of each stage: what was of use, and what in a row was not, in this process.
        self._used = dict(people=0, images=0)
        self._in_a_row = dict(people=0, images=0)
        self.max_in_a_row = max_in_a_row
        self._started = 0

    def __iter__(self) -> Iterator[Any]:
        import webdataset

        stream = webdataset.DataPipeline(
            self._tars,
            webdataset.tarfile_to_samples(handler=self._unreadable),
            self._people,
            webdataset.shuffle(self.buffer_size, seed=self.seed),
        )
        for results in stream:
            try:
                made = self.pipeline(results)
            except UnusableSample as error:
                self._skip('images', 'image that cannot be used', str(error))
                continue
            self._use('images')
            yield made

    def _tars(self) -> Iterator[dict[str, str]]:
        """All tars in random order, again and again.

        Raises:
            UnusableSample: If nothing is of use.
        """
        rng = np.random.default_rng((self.seed, _worker_seed(), self._started))
        self._started += 1
        # A person waits in the buffer for longer than that with a probability of exp(-10).
        limits = dict(people=self.max_in_a_row, images=max(self.max_in_a_row, 10 * self.buffer_size))
        used = [dict(self._used)] * 2  # before the last round but one, and before the last
        while True:
            for number in rng.permutation(len(self.urls)):
                self._in_a_row['people'] += 1
                yield dict(url=self.urls[number])
            for stage, limit in limits.items():
                # Two rounds: webdataset gives a tar's last sample after it has opened the next.
                if self._used[stage] == used[0][stage] and self._in_a_row[stage] > limit:
                    raise UnusableSample(
                        f'{self.name}: {self._in_a_row[stage]} in a row are of no use, and all '
                        f'{len(self.urls)} tars have been gone through: {self.skipped or "they are empty"}'
                    )
            used = [used[1], dict(self._used)]

    def _people(self, samples: Iterator[dict]) -> Iterator[dict]:
        """Samples of webdataset -> fields of the people in them."""
        for sample in samples:
            key = sample['__key__']
            suffix = next((name for name in IMAGE_SUFFIXES if name in sample), None)
            if key in self.exclude_keys or suffix is None or ANNOTATION_SUFFIX not in sample:
                self._skip('people', 'excluded, or without image or annotation')
                continue
            path = f'{sample.get("__url__")}:{key}.{suffix}'
            try:
                people = read_people(sample[ANNOTATION_SUFFIX], f'{path}: annotation')
            except ValueError as error:
                self._skip('people', 'annotation that cannot be read', str(error))
                continue
            for number, (record, problem) in enumerate(people):
                if problem:
                    self._skip('people', *count_problems([problem]))
                    continue
                if reason := self._unwanted(record):
                    self._skip('people', reason)
                    continue
                self._use('people')
                yield dict(
                    to_results(record),
                    sample_key=f'{path}#{number}',
                    dataset_name=self.name,
                    sample_idx=number,
                    img_path=path,
                    img_bytes=sample[suffix],
                )

    def _unwanted(self, record: np.ndarray) -> str | None:
        """Why the filter leaves a person out, or None."""
        if self.filter is None:
            return None
        fields = (record['keypoints_2d'][:, 2], record['scale'], record['fitting_error'])
        judged = self.filter.problems(*(np.asarray(field)[None] for field in fields))
        return next((reason for reason, wrong in judged.items() if wrong.any()), None)

    def _unreadable(self, error: Exception) -> bool:
        """Webdataset's question whether to go on after an error."""
        self._skip('people', 'tar that cannot be read', str(error))
        return True

    def _use(self, stage: str) -> None:
        """Count what is of use to a stage."""
        self._used[stage] += 1
        self._in_a_row[stage] = 0

    def _skip(self, stage: str, reason: str, example: str = '') -> None:
        """Count what is not; log the first of a kind."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        if self.skipped[reason] == 1:
            text = f'{self.name}: skipped: {reason}' + (f' ({example})' if example else '')
            print_log(text, logger='current', level=logging.WARNING)
        self._in_a_row[stage] += 1


def _worker_seed() -> int:
    """A number of its own for every worker of every process."""
    from mmengine.dist import get_rank
    from torch.utils.data import get_worker_info

    worker = get_worker_info()
    return get_rank() * 4096 + (worker.id if worker else 0)
