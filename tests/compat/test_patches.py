"""MMPose's own code on current versions of its dependencies, and with checks of what it reads."""

import json
from types import ModuleType

import numpy as np
import pytest
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

from mmhier.compat.patches import check_annotation_files
from mmhier.testing import write_dot_people


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


def test_a_real_xtcocotools_reads_repaired_files(tmp_path):
    """Its constructor, which reads a file without a look at it, is given the repaired content."""

    class COCO:
        def __init__(self, annotation_file=None, test_index=None, ann_data=None):
            if ann_data is None and annotation_file is not None:
                ann_data = json.loads(annotation_file.read_text())
            self.dataset = ann_data

    module = ModuleType('xtcocotools.coco')
    module.__file__, module.COCO = '/site-packages/xtcocotools/coco.py', COCO
    check_annotation_files(module)
    path = write_dot_people(tmp_path, 'val', 2)
    content = json.loads(path.read_text())
    for one in content['annotations']:
        one['id'] = 1
    path.write_text(json.dumps(content))
    assert [one['id'] for one in module.COCO(path).dataset['annotations']] == [1, 2]
    assert module.COCO(path, ann_data=content).dataset is content and module.COCO().dataset is None
