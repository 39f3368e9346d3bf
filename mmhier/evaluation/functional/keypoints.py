"""Scores of keypoints beside those of COCO: the unified one of arXiv 2510.12660."""


def phi_pose_2d(average_precision: float, average_recall: float) -> float:
    """Return Phi_P,2D, the mean of AP and AR (both in [0, 1], as COCO reports them).

    COCO writes -1 where a quantity is undefined (no ground truth at all); the score is -1 then, too.
    """
    if average_precision < 0 or average_recall < 0:
        return -1.0
    return (average_precision + average_recall) / 2
