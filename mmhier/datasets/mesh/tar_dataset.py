"""People from the tars of 4D-Humans, in any order."""

import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, get_dist_info
from mmengine.logging import print_log
from mmpose.registry import DATASETS

from mmhier.datasets.mesh.annotation import to_results
from mmhier.datasets.mesh.mesh_dataset import MeshDataset
from mmhier.datasets.mesh.tar_index import build_indexes, expand_shards
from mmhier.datasets.transforms.mesh_loading import UnusableSample

# Tars that a process keeps open.
MAX_OPEN = 64
# Tars that a process reads between two meetings with the others, far fewer than fit into NCCL's timeout.
PORTION = 8
# Images of AI Challenger that are damaged in the published tars; the list is that of 4D-Humans.
DAMAGED_KEYS = tuple(
    f'{folder}/{key}'
    for folder in ('aic-train', 'aic-train-vitpose')
    for key in (
        '0a047f0124ae48f8eee15a9506ce1449ee1ba669', '1a703aa174450c02fbc9cfbf578a5435ef403689',
        '0394e6dc4df78042929b891dbc24f0fd7ffb6b6d', '5c032b9626e410441544c7669123ecc4ae077058',
        'ca018a7b4c5f53494006ebeeff9b4c0917a55f07', '4a77adb695bef75a5d34c04d589baf646fe2ba35',
        'a0689017b1065c664daef4ae2d14ea03d543217e', '39596a45cbd21bed4a5f9c2342505532f8ec5cbb',
        '3d33283b40610d87db660b62982f797d50a7366b',
    )
)  # fmt: skip


@DATASETS.register_module()
class MeshTarDataset(MeshDataset):
    """People in tars; one sample is one person.

    The first use builds an index (:mod:`mmhier.datasets.mesh.tar_index`); the processes of a run share the
    tars among them. For millions of images do it beforehand with ``tools/prepare/index_tars.py``. After that
    nothing is unpickled any more.

    Args:
        name: Names the data set to the evaluator.
        shards: Patterns of tars, ``folder/{000000..000312}.tar`` or ``folder/*.tar``.
        data_root: Folder to which patterns are relative.
        on_damage: 'raise' refuses to start if a tar is missing or damaged, 'skip' uses what is whole. Either
            way every such tar is named with the number of its samples.
        person_filter: Arguments of :class:`mmhier.datasets.transforms.mesh_filters.PersonFilter`; by default
            all people are used.
        exclude_keys: Samples that are never used.
        index_dir: Folder for the indexes; by default one beside each tar.
        index_workers: Processes that build them, for each process of a run.
        kwargs: See :class:`MeshDataset`.

    Raises:
        ValueError: If ``on_damage`` is neither, a tar is damaged, or nobody can be used.
    """

    def __init__(
        self,
        name: str,
        shards: str | Sequence[str],
        data_root: str = '',
        on_damage: str = 'raise',
        person_filter: dict | None = None,
        exclude_keys: Sequence[str] = DAMAGED_KEYS,
        index_dir: str | None = None,
        index_workers: int = 0,
        **kwargs: Any,
    ):
        super().__init__(name, **kwargs)
        if on_damage not in ('raise', 'skip'):
            raise ValueError(f"on_damage must be 'raise' or 'skip', got {on_damage!r}")
        paths = expand_shards(shards, data_root)
        _share_indexing(paths, index_dir, index_workers)
        self.indexes = build_indexes(paths, index_dir)
        self._report_damage(on_damage)
        self._select(person_filter, exclude_keys)
        self._files: OrderedDict[int, tuple[int, np.ndarray]] = OrderedDict()

    def _report_damage(self, on_damage: str) -> None:
        damaged = [index for index in self.indexes if index.damage]
        if not damaged:
            return
        lines = '\n'.join(f'  {index.tar}: {index.damage}' for index in damaged)
        text = f'{self.name}: {len(damaged)} of {len(self.indexes)} tars are missing or damaged:\n{lines}'
        if on_damage == 'raise':
            raise ValueError(f"{text}\nDownload them again, or set on_damage='skip' to use what is whole.")
        print_log(text, logger='current', level=logging.WARNING)

    def _select(self, person_filter: dict | None, exclude_keys: Sequence[str]) -> None:
        """Number the people that are used: ``self._shard`` and ``self._row``."""
        people = [index.people for index in self.indexes]
        shard = np.repeat(np.arange(len(people), dtype=np.int32), [len(records) for records in people])
        row = np.concatenate([np.arange(len(records), dtype=np.int32) for records in people])
        fields = {
            field: np.concatenate([records[field] for records in people])
            for field in ('confidence', 'scale', 'fitting_error', 'problem')
        }
        kept = self.select(fields, person_filter)
        excluded = [key.encode() for key in exclude_keys]
        kept = kept[~np.concatenate([np.isin(records['key'], excluded) for records in people])[kept]]
        self._shard, self._row = shard[kept], row[kept]

    def __len__(self) -> int:
        return len(self._row)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_files': OrderedDict()}

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Fields of a person, with ``img_bytes``.

        Raises:
            UnusableSample: If the tar has become shorter or unreadable.
        """
        shard, row = int(self._shard[index]), int(self._row[index])
        tar = self.indexes[shard].tar
        person = self.indexes[shard].people[row]
        name = f'{person["key"].decode()}.{person["suffix"].decode()}'
        try:
            descriptor, annotations = self._open(shard)
            size = int(person['size'])
            content = os.pread(descriptor, size, int(person['offset']))
        except (OSError, ValueError) as error:
            raise UnusableSample(f'{tar}:{name} cannot be read ({error})') from error
        if len(content) != size:
            raise UnusableSample(f'{tar}:{name} has {len(content)} bytes, the index says {size}')
        return dict(
            to_results(annotations[row]),
            sample_key=f'{tar}:{name}#{person["person"]}',
            dataset_name=self.name,
            sample_idx=index,
            img_path=f'{tar}:{name}',
            img_bytes=content,
        )

    def _open(self, shard: int) -> tuple[int, np.ndarray]:
        """Descriptor and annotations of a tar, kept open for the next sample."""
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        if len(self._files) >= MAX_OPEN:
            os.close(self._files.popitem(last=False)[1][0])
        index = self.indexes[shard]
        annotations = np.load(index.annotations, mmap_mode='r', allow_pickle=False)
        self._files[shard] = os.open(index.tar, os.O_RDONLY), annotations
        return self._files[shard]

    def __del__(self) -> None:
        for descriptor, _ in getattr(self, '_files', {}).values():
            os.close(descriptor)


def _share_indexing(paths: Sequence[Path], index_dir: str | None, index_workers: int) -> None:
    """Build indexes, each in one process of a run, and wait for all; no wait is long."""
    rank, world_size = get_dist_info()
    portion = PORTION * max(1, index_workers)
    for first in range(0, len(paths), portion * world_size):
        own = first + rank * portion
        build_indexes(paths[own : own + portion], index_dir, index_workers)
        barrier()
