"""Several data sets one after the other, for evaluation in one run."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from mmpose.registry import DATASETS
from torch.utils.data import Dataset

from mmhier.datasets.mesh.mesh_dataset import MeshDataset
from mmhier.datasets.mesh.mixed_dataset import check_joints


@DATASETS.register_module()
class ConcatMeshDataset(Dataset):
    """All people of all data sets, each once, in order.

    Args:
        datasets: Data sets (:class:`MeshDataset` or configs of them).
        common: See :class:`.mixed_dataset.MixedDataset`.

    Raises:
        ValueError: If there is none, two have one name, or they have different joints.
    """

    def __init__(self, datasets: Sequence[dict | MeshDataset], common: Mapping[str, Any] | None = None):
        common = dict(common or {})
        self.datasets = [
            DATASETS.build(common | dict(item)) if isinstance(item, dict) else item for item in datasets
        ]
        names = [dataset.name for dataset in self.datasets]
        if not names or len(set(names)) < len(names):
            raise ValueError(f'each data set needs a name of its own for the evaluator, got {names}')
        check_joints(self.datasets)
        self.ends = list(accumulate(len(dataset) for dataset in self.datasets))

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the first data set."""
        return self.datasets[0].metainfo

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f'sample {index} of {len(self)}')
        number = bisect_right(self.ends, index)
        return self.datasets[number][index - (self.ends[number - 1] if number else 0)]
