"""Files of detected boxes: the same as MMPose's on a good one, repaired or refused on others."""

import json
import shutil

import pytest
from mmpose.registry import DATASETS

from mmhier.datasets.coco_boxes import read_boxes
from mmhier.engine.data_preflight import check_data
from tests.datasets.coco_truth import config, truth_ap, write


@pytest.fixture
def boxes(content):
    return [
        dict(image_id=one['image_id'], category_id=1, bbox=one['bbox'], score=0.5 + 0.1 * one['id'])
        for one in content['annotations']
    ]


def _config(folder, content, boxes, kind='CheckedCocoDataset'):
    path = folder / 'boxes.json'
    path.write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
    return config(write(folder, content), folder / 'images' / 'val', kind, bbox_file=str(path))


def _truth(content):
    import numpy as np

    return {
        one['image_id']: np.reshape(one['keypoints'], (1, -1, 3))[..., :2] for one in content['annotations']
    }


def test_equals_mmpose_on_a_good_file(folder, content, boxes):
    boxes.append(dict(boxes[0], category_id=3))
    ours, theirs = (
        DATASETS.build(_config(folder, content, boxes, kind).val_dataloader.dataset)
        for kind in ('CheckedCocoDataset', 'CocoDataset')
    )
    assert len(ours) == len(theirs) == 4
    for index in range(4):
        info, other = ours.get_data_info(index), theirs.get_data_info(index)
        assert info.pop('category_id') == 1
        assert str(dict(sorted(info.items()))) == str(dict(sorted(other.items())))


def category(value):
    return lambda content, boxes: [one.update(category_id=value) for one in boxes]


def player(content, boxes):
    """The only category of the annotations is another one, and so are those of the boxes."""
    content['categories'] = [dict(id=3, name='player')]
    for one in content['annotations'] + boxes:
        one['category_id'] = 3


def player_found_as_person(content, boxes):
    player(content, boxes)
    category(1)(content, boxes)


def text(content, boxes):
    for one in boxes:
        one.update(image_id=str(one['image_id']), score=str(one['score']), bbox=[str(v) for v in one['bbox']])


def and_others(content, boxes):
    boxes.append(dict(boxes[0], category_id=17))
    boxes.append(dict(boxes[0], bbox=[500, 5, 20, 20]))
    boxes.append(dict(boxes[0], bbox=[5, 5, 0, 20]))


def ball_listed(content, boxes):
    content['categories'].append(dict(id=17, name='ball'))
    boxes.append(dict(boxes[0], category_id=17))


def two_roles(content, boxes):
    content['categories'] = [dict(id=3, name='player'), dict(id=4, name='referee')]
    for one in content['annotations']:
        one['category_id'] = 3
    category(9)(content, boxes)


REPAIRED = {
    'right': (lambda content, boxes: None, []),
    'category 0': (category(0), ['the only category_id 0 was read as 1, person .4, first: box 1']),
    'category null': (category(None), []),
    'category by name': (category('person'), []),
    'category as text': (category('1'), []),
    'player': (player, []),
    'player found as person': (player_found_as_person, ['the only category_id 1 was read as 3, person']),
    'ball listed': (
        ball_listed,
        ['boxes of other things than people .category_id 17. are left out .1, first: box 5'],
    ),
    'text': (text, ['numbers written as text were read as numbers .4, first: box 1']),
    'others': (
        and_others,
        [
            'boxes of other things than people .category_id 17. are left out .1, first: box 5',
            r'boxes without area or beside their picture are left out .2, first: box 6, \[500',
        ],
    ),
}


@pytest.mark.parametrize('name', REPAIRED)
def test_a_repaired_file_gives_ap_1_and_is_named(folder, content, boxes, name, caplog):
    import re

    change, lines = REPAIRED[name]
    change(content, boxes)
    assert truth_ap(_config(folder, content, boxes), _truth(content)) == 1
    said = [record.getMessage() for record in caplog.records if record.name == 'mmhier']
    assert len(said) == len(lines)
    for line, one in zip(lines, said, strict=True):
        assert re.search(line, one) and 'boxes.json' in one


def third(**fields):
    return lambda content, boxes: boxes[2].update(fields)


def mixed(content, boxes):
    for number, one in enumerate(boxes):
        one['category_id'] = 40 + number


def corners(content, boxes):
    for one in boxes:
        one['bbox'] = [*one['bbox'][:2], one['bbox'][0] + one['bbox'][2], one['bbox'][1] + one['bbox'][3]]


REFUSED = {
    'unknown image': (
        third(image_id=9),
        'box 3 of the list is of image 9, which the annotation file does not list',
    ),
    'image by name': (third(image_id='3.png'), "box 3 of the list is of image '3.png'"),
    'no score': (lambda content, boxes: boxes[2].pop('score'), 'box 3 of the list has no score'),
    'score true': (third(score=True), 'box 3 of the list has the score True, expected a finite number'),
    'category a list': (third(category_id=[1]), r'box 3 of the list has the category_id \[1\]'),
    'category of one of two roles': (two_roles, 'none of its 4 boxes is of a person: their category_id are'),
    'score NaN': (third(score=float('nan')), 'box 3 of the list has the score nan, expected a finite number'),
    'box NaN': (third(bbox=[1, float('nan'), 2, 3]), r'box 3 of the list has the bbox \[1, nan, 2, 3\]'),
    'box of three': (
        third(bbox=[1, 2, 3]),
        r'box 3 of the list has the bbox \[1, 2, 3\], expected x, y, width',
    ),
    'other categories': (mixed, r"none of its 4 boxes is of a person: their category_id are \['40', '41'"),
    'fractions': (
        lambda content, boxes: [one.update(bbox=[0.1, 0.2, 0.5, 0.6]) for one in boxes],
        r'its boxes, such as \[0.1, 0.2, 0.5, 0.6\], look like fractions of the picture',
    ),
    'corners': (corners, 'boxes leave their picture .first: box .* x1, y1, x2, y2'),
    'none': (lambda content, boxes: boxes.clear(), 'none of its 0 boxes'),
    'all beside': (
        lambda content, boxes: [one.update(bbox=[500, 5, 20, 20]) for one in boxes],
        'none of its 4 boxes is that of a person in the pictures',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_could_mean_several_things_is_refused_by_entry(folder, content, boxes, name):
    change, message = REFUSED[name]
    change(content, boxes)
    with pytest.raises(ValueError, match=message) as error:
        truth_ap(_config(folder, content, boxes), _truth(content))
    assert 'boxes.json' in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('given', ['{}', '[1]', '[{'])
def test_other_files_are_named(folder, content, given):
    with pytest.raises(ValueError, match='boxes.json (holds|is not a JSON file)'):
        truth_ap(_config(folder, content, given))


def test_what_mmpose_would_drop_is_refused_for_its_own_data_set(folder, content, boxes):
    truth_ap(_config(folder, content, boxes, 'CocoDataset'), _truth(content))
    category(0)(content, boxes)
    with pytest.raises(ValueError, match="CocoDataset cannot make: set .*type='CheckedCocoDataset'"):
        truth_ap(_config(folder, content, boxes, 'CocoDataset'))


def test_boxes_are_what_the_file_says(folder, content, boxes):
    path = folder / 'boxes.json'
    path.write_text(json.dumps(boxes))
    read, same = read_boxes(path, content)
    assert read == boxes and same
    text = [dict(one, bbox=[str(value) for value in one['bbox']]) for one in boxes]
    path.write_text(json.dumps(text))
    read, same = read_boxes(path, content)
    assert read == boxes and not same, "MMPose's own reader would not make numbers of text"


def test_only_pictures_with_boxes_are_needed(folder, content, boxes, tmp_path):
    copied = shutil.copytree(folder, tmp_path / 'people')
    (copied / 'images' / 'val' / '000004.png').unlink()
    check_data(_config(copied, content, boxes[:3]), 'val_dataloader')
    with pytest.raises(FileNotFoundError, match='1 of 4 pictures'):
        check_data(_config(copied, content, boxes), 'val_dataloader')
