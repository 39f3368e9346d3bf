"""Thin MMEngine metrics over :mod:`mmhier.evaluation.functional`."""

from mmhier.evaluation.metrics.coco_phi_metric import CocoPhiMetric

__all__ = ['CocoPhiMetric']
