"""Whole models; those of 2D pose for one data set are MMPose's."""

from mmhier.models.pose_estimators.many_datasets_estimator import ManyDatasetsEstimator
from mmhier.models.pose_estimators.mesh_preprocessor import MeshDataPreprocessor
from mmhier.models.pose_estimators.topdown_mesh import TopdownMeshEstimator

__all__ = ['ManyDatasetsEstimator', 'MeshDataPreprocessor', 'TopdownMeshEstimator']
