"""Data sets of mesh recovery."""

from mmhier.datasets.mesh.concat_dataset import ConcatMeshDataset
from mmhier.datasets.mesh.human_data import HumanDataset
from mmhier.datasets.mesh.mixed_dataset import DrawSampler, MixedDataset
from mmhier.datasets.mesh.mocap import MocapDataset
from mmhier.datasets.mesh.npz_dataset import MeshNpzDataset
from mmhier.datasets.mesh.resume_hook import ResumeDrawsHook
from mmhier.datasets.mesh.streaming import MeshStreamDataset
from mmhier.datasets.mesh.synthetic_dataset import SyntheticMeshDataset, SyntheticPoses
from mmhier.datasets.mesh.tar_dataset import MeshTarDataset
from mmhier.datasets.mesh.whole_body_sets import WholeBodySet

__all__ = [
    'ConcatMeshDataset',
    'DrawSampler',
    'HumanDataset',
    'MeshNpzDataset',
    'MeshStreamDataset',
    'MeshTarDataset',
    'MixedDataset',
    'MocapDataset',
    'ResumeDrawsHook',
    'SyntheticMeshDataset',
    'SyntheticPoses',
    'WholeBodySet',
]
