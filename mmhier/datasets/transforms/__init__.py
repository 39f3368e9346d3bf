"""Data transforms beside MMPose's own."""

from mmhier.datasets.transforms.loading import LoadCheckedImage
from mmhier.datasets.transforms.mesh_affine import MeshAffine
from mmhier.datasets.transforms.mesh_box import MeshBox, RandomMeshBox
from mmhier.datasets.transforms.mesh_colour import RandomChannelScale
from mmhier.datasets.transforms.mesh_filters import SuppressBodyParameters, SuppressKeypoints
from mmhier.datasets.transforms.mesh_loading import LoadMeshImage
from mmhier.datasets.transforms.mesh_packing import PackMeshInputs
from mmhier.datasets.transforms.picture_crop import RandomResizedPicture
from mmhier.datasets.transforms.whole_body_packing import PackWholeBodyInputs

__all__ = [
    'LoadCheckedImage',
    'LoadMeshImage',
    'MeshAffine',
    'MeshBox',
    'PackMeshInputs',
    'PackWholeBodyInputs',
    'RandomChannelScale',
    'RandomMeshBox',
    'RandomResizedPicture',
    'SuppressBodyParameters',
    'SuppressKeypoints',
]
