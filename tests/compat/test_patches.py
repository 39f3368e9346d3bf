"""MMPose's own code on current versions of its dependencies."""

import numpy as np
import pytest
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer


@pytest.mark.parametrize('alpha', [0.5, 1.0])
def test_circles_are_drawn_with_opencv(alpha):
    visualizer = PoseLocalVisualizer(backend='opencv', radius=3, alpha=alpha, show_keypoint_weight=False)
    visualizer.set_dataset_meta({'keypoint_colors': np.array([[255, 0, 0]]), 'skeleton_links': []})
    sample = PoseDataSample()
    sample.pred_instances = InstanceData(
        keypoints=np.array([[[10.0, 20.0]]]), keypoint_scores=np.array([[1.0]])
    )
    visualizer.add_datasample(
        'one', np.zeros((40, 30, 3), np.uint8), sample, draw_gt=False, draw_bbox=False, show=False
    )
    red = visualizer.get_image()[..., 0]
    assert red[20, 10] == pytest.approx(255 * alpha, abs=1)
    ys, xs = np.nonzero(red)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (17, 23, 7, 13)
