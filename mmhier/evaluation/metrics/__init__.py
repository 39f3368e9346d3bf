"""Thin MMEngine metrics over :mod:`mmhier.evaluation.functional`."""

from mmhier.evaluation.metrics.coco_phi_metric import CocoPhiMetric
from mmhier.evaluation.metrics.many_datasets_metric import ManyDatasetsMetric
from mmhier.evaluation.metrics.mesh_metric import MeshMetric
from mmhier.evaluation.metrics.smpl_body_metric import SmplBodyMetric
from mmhier.evaluation.metrics.whole_body_metric import WholeBodyMetric

__all__ = ['CocoPhiMetric', 'ManyDatasetsMetric', 'MeshMetric', 'SmplBodyMetric', 'WholeBodyMetric']
