"""Poses and shapes of motion capture, what the adversarial prior takes for real.

``cmu_mocap.npz`` of HMR2.0: ``body_pose`` (N, 72), axis-angle in radians, whose first three numbers (the
orientation of the body) are not used, and ``betas`` (N, 10).
"""

import numpy as np
from mmpose.registry import DATASETS
from torch.utils.data import Dataset

from mmhier.datasets.mesh.npz_file import read_npz
from mmhier.mesh_sample import SMPL_LAYOUT


@DATASETS.register_module()
class MocapDataset(Dataset):
    """Bodies without images.

    Args:
        ann_file: The npz file.

    Raises:
        ValueError: If it is malformed or holds a number that is not finite.
    """

    def __init__(self, ann_file: str):
        fields = read_npz(ann_file, ('body_pose', 'betas'))
        missing = {'body_pose', 'betas'} - set(fields)
        if missing:
            raise ValueError(f'{ann_file} has no {", ".join(sorted(missing))}')
        pose, betas = (fields[name].astype(np.float32) for name in ('body_pose', 'betas'))
        rotations, components = SMPL_LAYOUT.num_body, SMPL_LAYOUT.num_betas
        if not pose.size or pose.shape[1:] != (3 + 3 * rotations,) or betas.shape != (len(pose), components):
            raise ValueError(
                f'{ann_file}: body_pose is {pose.shape}, betas {betas.shape}; expected (N, '
                f'{3 + 3 * rotations}) and (N, {components})'
            )
        finite = np.isfinite(pose).all(1) & np.isfinite(betas).all(1)
        if not finite.all():
            raise ValueError(
                f'{ann_file}: {int((~finite).sum())} of {len(pose)} bodies hold numbers that are not finite, '
                f'the first is number {int(np.argmin(finite))}'
            )
        self.body_pose = pose[:, 3:].reshape(-1, rotations, 3)
        self.betas = betas

    def __len__(self) -> int:
        return len(self.betas)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """``body_pose`` (23, 3), axis-angle in radians, and ``betas`` (10,), float32."""
        return dict(body_pose=self.body_pose[index], betas=self.betas[index])
