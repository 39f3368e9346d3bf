"""Whole models; those of 2D pose are MMPose's."""

from mmhier.models.pose_estimators.mesh_preprocessor import MeshDataPreprocessor
from mmhier.models.pose_estimators.topdown_mesh import TopdownMeshEstimator

__all__ = ['MeshDataPreprocessor', 'TopdownMeshEstimator']
