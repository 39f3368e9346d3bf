"""Reading annotation files as xtcocotools does."""

import json

import pytest

from mmhier.compat.shims.xtcocotools import mask
from mmhier.compat.shims.xtcocotools.coco import COCO


def annotations() -> dict:
    keypoints = [0.0, 1.0, 2.0, 3.0, 4.0, 1.0, 6.0, 7.0, 0.0]
    person = {
        'id': 3,
        'image_id': 1,
        'category_id': 1,
        'bbox': [0, 0, 4, 5],
        'area': 20,
        'keypoints': keypoints,
    }
    return {
        'images': [
            {'id': 1, 'file_name': 'a.jpg', 'width': 10, 'height': 20},
            {'id': 2, 'file_name': 'b.jpg'},
        ],
        'annotations': [person],
        'categories': [{'id': 1, 'name': 'person'}],
    }


def test_index(tmp_path):
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(annotations()))
    coco = COCO(str(path))
    assert coco.anno_file == [str(path)]
    assert coco.getImgIds() == [1, 2] and coco.getCatIds() == [1]
    assert coco.getAnnIds(imgIds=1) == [3] and coco.getAnnIds(imgIds=[2]) == []
    assert coco.loadImgs(1)[0]['file_name'] == 'a.jpg' and coco.loadCats([1])[0]['name'] == 'person'
    assert coco.loadAnns([3])[0]['iscrowd'] == 0  # filled in
    assert coco.imgToAnns[1][0]['id'] == 3


def test_chosen_keypoints_and_given_data():
    coco = COCO('never_read.json', test_index=[2, 0], ann_data=annotations())
    assert coco.anns[3]['keypoints'] == [6, 7, 0, 0, 1, 2]


def test_results():
    coco = COCO(ann_data=annotations())
    result = {'image_id': 1, 'category_id': 1, 'keypoints': [0, 0, 1, 4, 5, 1], 'score': 0.5}
    found = coco.loadRes([result])
    assert found.anns[1]['area'] == 20 and found.anns[1]['bbox'] == [0, 0, 4, 5]
    assert len(coco.loadRes([]).anns) == 0
    with pytest.raises(AssertionError, match='do not correspond'):
        coco.loadRes([result | {'image_id': 99}])


def test_masks():
    square = [[1.0, 1.0, 1.0, 4.0, 5.0, 4.0, 5.0, 1.0]]
    encoded = mask.merge(mask.frPyObjects(square, 10, 12))
    assert mask.decode(encoded).shape == (10, 12) and mask.decode(encoded).sum() == mask.area(encoded) == 12
