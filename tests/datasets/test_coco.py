"""The COCO data set equals MMPose's on good files and speaks up about bad ones."""

import json

import pytest
from mmengine.registry import init_default_scope
from mmpose.datasets.datasets.body import CocoDataset
from mmpose.registry import DATASETS

from mmhier.testing import write_dot_people


@pytest.fixture
def content(tmp_path):
    return json.loads(write_dot_people(tmp_path, 'val', 4).read_text())


def _build(tmp_path, content, kind='CheckedCocoDataset', **more):
    path = tmp_path / 'annotations' / 'people.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    init_default_scope('mmpose')
    return DATASETS.build(
        dict(type=kind, ann_file=str(path), data_prefix=dict(img=f'{tmp_path}/images/val/'), **more)
    )


def test_equals_mmpose_on_a_good_file(tmp_path, content, caplog):
    ours, theirs = (_build(tmp_path, content, kind) for kind in ('CheckedCocoDataset', 'CocoDataset'))
    assert isinstance(ours, CocoDataset) and len(ours) == 4
    for index in range(4):
        info = ours.get_data_info(index)
        assert info.pop('img_shape') == (120, 100)  # what the loader compares with the picture
        assert str(info) == str(theirs.get_data_info(index))


@pytest.mark.parametrize('test_mode', [False, True])
def test_what_is_left_out_is_counted(tmp_path, content, monkeypatch, test_mode):
    del content['annotations'][0]['keypoints']
    content['annotations'][1]['iscrowd'] = 1
    lines = []
    monkeypatch.setattr('mmhier.datasets.coco.print_log', lambda text, **_: lines.append(text))
    assert len(_build(tmp_path, content, test_mode=test_mode)) == 2
    assert '2 of 4 annotated people are used; 2 have no box' in lines[0] and 'people.json' in lines[0]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(keypoints=[1.0] * 48),
            r'people.json: annotation 3 \(entry 3\) has 48 numbers in keypoints, most others 51',
        ),
        (dict(keypoints=[float('nan')] * 51), 'people.json: annotation 3 .* has the visibility nan'),
        (dict(keypoints=[float('inf'), 2, 1] * 17), 'people.json: annotation 3 .* not a finite number'),
        (dict(bbox=[0, 0, float('inf'), 2]), 'people.json: annotation 3 .* not finite numbers'),
        (dict(bbox='none'), "people.json: annotation 3 .* has the bbox 'none', expected a list of 4"),
    ],
)
def test_malformed_annotation_is_named(tmp_path, content, change, message):
    content['annotations'][2].update(change)
    with pytest.raises(ValueError, match=message):
        _build(tmp_path, content)


@pytest.mark.parametrize('text', ['{"images": [', '{"images": []}', '[]'])
def test_file_of_another_kind_is_named(tmp_path, content, text):
    with pytest.raises(ValueError, match='people.json'):
        _build(tmp_path, text)


def test_nothing_usable(tmp_path, content):
    for annotation in content['annotations']:
        annotation['keypoints'][2::3] = [0] * 17
    with pytest.raises(ValueError, match='people.json holds no usable person: 4 annotations'):
        _build(tmp_path, content)
