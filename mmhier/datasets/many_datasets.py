"""Several data sets in one run, each with its own keypoints and pipeline: see ``docs/many_datasets.md``.

MMPose's ``CombinedDataset`` brings all of them to one set of keypoints. Here each keeps its own, and every
sample says by ``dataset_name`` of which it is, for the decoder and for the score that are its data set's
(:class:`mmhier.models.heads.DataSetHeads`, :class:`mmhier.evaluation.metrics.ManyDatasetsMetric`).
"""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from mmpose.registry import DATASETS
from torch.utils.data import Dataset


@DATASETS.register_module()
class ManyDatasets(Dataset):
    """All samples of all data sets, each once, in order; MMEngine's samplers shuffle and divide them.

    Args:
        datasets: Data set, by the name that decoders, experts and metrics have for it -> its config. The
            pipeline ends with ``PackPoseInputs``.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, datasets: Mapping[str, dict | Dataset]):
        if not isinstance(datasets, Mapping) or not datasets:
            raise ValueError(
                f'datasets of ManyDatasets are a dictionary of names and data sets, got {datasets!r}'
            )
        self.datasets = {
            name: DATASETS.build(item) if isinstance(item, Mapping) else item
            for name, item in datasets.items()
        }
        self.names = list(self.datasets)
        self.ends = list(accumulate(len(dataset) for dataset in self.datasets.values()))

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the first data set, and under ``datasets`` that of each by its name."""
        described = {name: dataset.metainfo for name, dataset in self.datasets.items()}
        return {**described[self.names[0]], 'datasets': described}

    def full_init(self) -> None:
        """Load what has not been loaded yet."""
        for dataset in self.datasets.values():
            dataset.full_init()

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> dict:
        """A sample of :class:`mmpose.datasets.transforms.PackPoseInputs` with the name of its data set."""
        if not 0 <= index < len(self):
            raise IndexError(f'sample {index} of {len(self)}')
        number = bisect_right(self.ends, index)
        name = self.names[number]
        sample = self.datasets[name][index - (self.ends[number - 1] if number else 0)]
        sample['data_samples'].set_metainfo(dict(dataset_name=name))
        return sample
