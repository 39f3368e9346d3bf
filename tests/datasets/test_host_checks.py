"""MMPose and xtcocotools read annotations as our data sets do."""

import json
from types import ModuleType

import pytest
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation.metrics import coco_metric
from xtcocotools.coco import COCO as HostCOCO

from mmhier.datasets import host_checks
from mmhier.testing import write_dot_people


@pytest.fixture
def repeated(tmp_path):
    """An annotation file in which two people have the same id."""
    path = write_dot_people(tmp_path, 'val', 2)
    content = json.loads(path.read_text())
    for one in content['annotations']:
        one['id'] = 1
    path.write_text(json.dumps(content))
    return path


def test_what_xtcocotools_reads_is_repaired(repeated):
    index = HostCOCO(repeated)
    assert sorted(index.anns) == [1, 2] and index.annotation_file == repeated


def test_truncated_file_is_named(repeated):
    repeated.write_text(repeated.read_text()[:50])
    with pytest.raises(ValueError, match=f'{repeated.name} is not a JSON file'):
        HostCOCO(str(repeated))


def test_a_real_xtcocotools_reads_repaired_files(repeated):
    """Its constructor, which reads a file without a look at it, is given the repaired content."""

    class COCO:
        def __init__(self, annotation_file=None, test_index=None, ann_data=None):
            if ann_data is None and annotation_file is not None:
                ann_data = json.loads(annotation_file.read_text())
            self.dataset = ann_data

    module = ModuleType('xtcocotools.coco')
    module.COCO = COCO
    host_checks.check_annotation_files(module)
    content = json.loads(repeated.read_text())
    assert [one['id'] for one in module.COCO(repeated).dataset['annotations']] == [1, 2]
    assert module.COCO(repeated, ann_data=content).dataset is content and module.COCO().dataset is None


def test_keypoints_are_checked_by_the_host():
    info = dict(dataset_name='two', keypoint_info={0: dict(name='a', id=0, color=[1, 2, 3], swap='b')})
    info |= dict(skeleton_info={}, joint_weights=[1.0], sigmas=[0.1])
    with pytest.raises(ValueError, match='metainfo'):
        parse_pose_metainfo(info)


def test_the_metric_reads_a_byte_order_mark(tmp_path):
    (tmp_path / 'a.json').write_text('{"a": 1}', encoding='utf-16')
    assert coco_metric.load(str(tmp_path / 'a.json')) == {'a': 1}
