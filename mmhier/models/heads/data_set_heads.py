"""One decoder per data set over one encoder (ViTPose, arXiv 2204.12484; ViTPose+, arXiv 2212.04246).

Every sample goes through the decoder of its data set and no other, which sees its keypoints in their own
number. (ViTPose+'s released training sends all through all decoders and pads targets to 133 keypoints, which
it then compares with 14, 16 or 17.) Batch normalisation of a decoder thus sees its own data set only.

The loss of a decoder is the mean over its own samples in the batch, of all processes together: gradients do
not depend on how samples are divided between processes, and a process whose part has none of a data set does
not wait for that decoder. ViTPose+ takes the mean over the whole batch, where a small data set counts less:
``average='batch'``.

Letters: B samples, K keypoints.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine import dist
from mmengine.model import BaseModule, ModuleDict
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor

AVERAGES = ('own', 'batch')


@MODELS.register_module()
class DataSetHeads(BaseModule):
    """Decoders by the names of their data sets.

    Args:
        heads: Data set -> what its decoder has beside ``common``, such as ``out_channels``.
        common: Arguments of all decoders (``type='HeatmapHead'``, ``in_channels``, ``decoder`` ...).
        average: ``'own'``, or ``'batch'`` as ViTPose+ does.
        test_options: Data set -> what differs for it from ``test_cfg`` of the model.
        init_cfg: See MMEngine.

    Raises:
        ValueError: If a setting is wrong.
    """

    def __init__(
        self,
        heads: Mapping[str, Mapping],
        common: Mapping | None = None,
        average: str = 'own',
        test_options: Mapping[str, Mapping] | None = None,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        if not isinstance(heads, Mapping) or not heads:
            raise ValueError(f'model.head.heads are a dictionary of data sets and decoders, got {heads!r}')
        if average not in AVERAGES:
            raise ValueError(f'model.head.average must be one of {AVERAGES}, got {average!r}')
        self.heads = ModuleDict(
            {name: MODELS.build({**(common or {}), **own}) for name, own in heads.items()}
        )
        self.average = average
        self.test_options = dict(test_options or {})
        if unknown := sorted(set(self.test_options) - set(self.heads)):
            raise ValueError(
                f'model.head.test_options has {", ".join(unknown)}, for which there is no decoder'
            )

    def forward(self, feats: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """What every decoder makes of every sample, by data set."""
        return {name: head(feats) for name, head in self.heads.items()}

    def loss(
        self,
        feats: tuple[Tensor, ...],
        batch_data_samples: Sequence[PoseDataSample],
        train_cfg: Mapping | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of all decoders that have samples.

        Args:
            feats: Maps (B, C, H, W).
            batch_data_samples: B samples with ``dataset_name`` and targets.
            train_cfg: See MMPose.

        Returns:
            Those of the decoders, as ``NAME.loss_kpt``; and ``loss_idle``, zero, of which all others are a
            part, so that every parameter has a gradient.

        Raises:
            ValueError: If a sample is of a data set without decoder, or has another number of keypoints.
        """
        rows = self._rows(batch_data_samples)
        shares = self._shares(rows, len(batch_data_samples), feats[-1].device)
        losses: dict[str, Tensor] = {}
        for name, own in rows.items():
            samples = [batch_data_samples[row] for row in own]
            self._check_targets(name, samples[0])
            found = self.heads[name].loss(_take(feats, own), samples, train_cfg or {})
            for key, value in found.items():
                losses[f'{name}.{key}'] = value * shares[name] if 'loss' in key else value
        idle = [parameter for name in self.heads if name not in rows for parameter in self._learning(name)]
        if idle:
            losses['loss_idle'] = 0.0 * torch.stack([parameter.sum() for parameter in idle]).sum()
        return losses

    def predict(
        self, feats: Any, batch_data_samples: Sequence[PoseDataSample], test_cfg: Mapping | None = None
    ) -> Any:
        """Find the keypoints of each sample with the decoder of its data set.

        Args:
            feats: Maps, or those of the images and of the mirrored images, as MMPose hands them over.
            batch_data_samples: B samples with ``dataset_name``.
            test_cfg: See MMPose.

        Returns:
            B predictions; with ``output_heatmaps`` in ``test_cfg`` also B heatmaps.

        Raises:
            ValueError: If a sample is of a data set without decoder.
        """
        predictions: list = [None] * len(batch_data_samples)
        fields: list = [None] * len(batch_data_samples)
        for name, own in self._rows(batch_data_samples).items():
            options = {**(test_cfg or {}), **self.test_options.get(name, {})}
            samples = [batch_data_samples[row] for row in own]
            found = self.heads[name].predict(_take(feats, own), samples, options)
            instances, maps = found if isinstance(found, tuple) else (found, [None] * len(own))
            for row, instance, heatmaps in zip(own, instances, maps, strict=True):
                predictions[row], fields[row] = instance, heatmaps
        return predictions if None in fields else (predictions, fields)

    def _rows(self, samples: Sequence[PoseDataSample]) -> dict[str, list[int]]:
        """Data set -> numbers of its samples; of those that have any, in the order of the decoders."""
        names = names_of(samples)
        if unknown := sorted(set(names) - set(self.heads)):
            raise ValueError(
                f'samples of {", ".join(unknown)}, for which there is no decoder: there are those of '
                f'{", ".join(self.heads)} (model.head.heads)'
            )
        rows = {name: [row for row, other in enumerate(names) if other == name] for name in self.heads}
        return {name: own for name, own in rows.items() if own}

    def _shares(self, rows: Mapping[str, list[int]], batch: int, device: torch.device) -> dict[str, float]:
        """By what the mean over a process's own samples is multiplied.

        MMEngine's processes take the mean of their gradients, whatever the number of their samples.
        """
        counts = torch.tensor([float(len(rows.get(name, ()))) for name in self.heads], device=device)
        if self.average == 'batch':
            return dict(zip(self.heads, (counts / batch).tolist(), strict=True))
        total = counts.clone()
        dist.all_reduce(total)  # of one process: as it is
        shares = counts * dist.get_world_size() / total.clamp(min=1)
        return dict(zip(self.heads, shares.tolist(), strict=True))

    def _check_targets(self, name: str, sample: PoseDataSample) -> None:
        channels, maps = getattr(self.heads[name], 'out_channels', None), sample.get('gt_fields')
        found = len(maps.heatmaps) if maps is not None and 'heatmaps' in maps else channels
        if found != channels:
            raise ValueError(
                f'a sample of {name} has {found} keypoints, model.head.heads.{name}.out_channels is '
                f'{channels}: set both to the same'
            )

    def _learning(self, name: str) -> list[Tensor]:
        return [parameter for parameter in self.heads[name].parameters() if parameter.requires_grad]


def names_of(samples: Sequence[PoseDataSample]) -> list[str]:
    """Data set of each sample.

    Raises:
        ValueError: If a sample does not say.
    """
    names = [sample.metainfo.get('dataset_name') for sample in samples]
    if None in names:
        raise ValueError(
            'a sample does not say of which data set it is (dataset_name), so that it has no decoder. '
            "type='ManyDatasets' says it; for pictures, take one decoder out: mmhier convert --dataset NAME"
        )
    return names


def _take(feats: Any, rows: list[int]) -> Any:
    """Samples with these numbers of maps, or of nested lists of them."""
    if isinstance(feats, list | tuple):
        return type(feats)(_take(item, rows) for item in feats)
    return feats if rows == list(range(len(feats))) else feats[rows]
