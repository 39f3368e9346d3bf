"""MMPose's own code on current versions of its dependencies."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

from mmhier.compat import patches


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


def test_a_config_is_laid_out_once():
    asked = []

    def format_code(source, **options):
        asked.append(source)
        return source.upper(), True

    module = SimpleNamespace(FormatCode=format_code)
    patches.format_configs_once(module)
    style = dict(style_config=dict(based_on_style='pep8'))
    for _ in range(3):
        assert module.FormatCode('a = 1', **style) == ('A = 1', True)
    assert module.FormatCode('b = 1', **style) == ('B = 1', True)
    assert module.FormatCode('b = 1', style_config=None) == ('B = 1', True)
    assert asked == ['a = 1', 'b = 1', 'b = 1']


def test_mmengine_lays_out_configs_through_it():
    from mmengine.config import config

    assert config.FormatCode.__module__ == 'yapf.yapflib.yapf_api'
    assert config.FormatCode.__wrapped__ is not None
