"""What a teacher said about crops, kept on the disk.

A file per crop, named after its pixels: ``FOLDER/TEACHER/ab/abcdef...npz``. So whatever data set,
augmentation or run a crop comes from, what is found is what this teacher said about this very crop, and
several processes and runs may share a folder. Crops come again if the data set is a
:class:`mmhier.datasets.repeated_views.RepeatedViews`, which also names them.

Heatmaps are rounded to 127 steps up to the highest peak of each keypoint, and compressed. They are rounded
before their first use too, so that it makes no difference to training when a target was computed.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmhier.atomic import new_file
from mmhier.safe_files import read_npz

logger = logging.getLogger('mmhier')

_LEVELS = 127


class TargetCache:
    """A folder of targets.

    Args:
        folder: The folder, which is made.
        teacher: Digits that stand for the teacher: weights, architecture, precision.
    """

    def __init__(self, folder: str | Path, teacher: str):
        self.folder = Path(folder) / teacher

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """Return the arrays of a crop; None if there are none. A damaged file is none, and is said."""
        path = self._path(key)
        try:
            return read_npz(path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            logger.warning('%s; the teacher is asked again', error)
            return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a crop."""
        with new_file(self._path(key)) as part, part.open('wb') as file:
            np.savez_compressed(file, **arrays)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f'{key}.npz'


def pack(targets: Mapping[str, Tensor], index: int) -> dict[str, np.ndarray]:
    """The arrays that are kept of one crop of a batch; heatmaps (B, K, h, w) become whole numbers."""
    arrays = {}
    for name, value in targets.items():
        array = value[index].float().cpu().numpy()
        if name == 'heatmaps':
            step = np.abs(array).max((1, 2)) / _LEVELS
            arrays['step'] = step.astype(np.float32)
            array = np.rint(array / np.maximum(arrays['step'], 1e-12)[:, None, None]).astype(np.int8)
        arrays[name] = array
    return arrays


def unpack(crops: list[dict[str, np.ndarray]], device: torch.device) -> dict[str, Tensor]:
    """A batch of targets from what was kept of its crops."""
    batch = {name: torch.from_numpy(np.stack([crop[name] for crop in crops])).to(device) for name in crops[0]}
    if 'step' in batch:
        batch['heatmaps'] = batch['heatmaps'].float() * batch.pop('step')[..., None, None]
    return batch
