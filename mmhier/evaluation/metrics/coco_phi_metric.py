"""MMPose's COCO metric with the unified score of arXiv 2510.12660 beside AP and AR."""

from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import METRICS

from mmhier.evaluation.functional import phi_pose_2d


@METRICS.register_module()
class CocoPhiMetric(CocoMetric):
    """``CocoMetric`` that also reports ``coco/Phi``, the mean of AP and AR."""

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute AP, AR and their thresholds as ``CocoMetric`` does, then add ``Phi``."""
        metrics = super().compute_metrics(results)
        if metrics:  # empty with format_only=True
            metrics['Phi'] = phi_pose_2d(metrics['AP'], metrics['AR'])
        return metrics
