"""Boxes from files: three formats, by name and by frame, and what is refused."""

import json

import numpy as np
import pytest

from mmhier.detection import load_detector

IMAGE = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture
def write(tmp_path):
    def write(content, name='boxes.json'):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def boxes_of(detect, source='', frame_index=0):
    return detect(IMAGE, source=source, frame_index=frame_index)[0].tolist()


def test_simple_format_by_name(write):
    detect = load_detector(
        write(
            {
                'street.jpg': [[1, 2, 3, 4], [5, 6, 7, 8, 0.9], [0, 0, 1, 1, 0.1]],
                'empty.jpg': [],
                'clip.mp4': {'0': [[0, 0, 5, 5]], '5': [[1, 1, 6, 6]]},
            }
        )
    )
    boxes, scores = detect(IMAGE, source='photos/street.jpg')
    assert boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]] and np.allclose(scores, [1, 0.9])
    assert boxes.dtype == scores.dtype == np.float32
    empty, scores = detect(IMAGE, source='empty.jpg')
    assert empty.shape == (0, 4) and scores.shape == (0,)
    assert [boxes_of(detect, 'clip.mp4', t) for t in (0, 1, 5)] == [[[0, 0, 5, 5]], [], [[1, 1, 6, 6]]]
    with pytest.raises(ValueError, match=r'no boxes for stret.jpg, but for street.jpg, empty.jpg, clip.mp4'):
        boxes_of(detect, 'stret.jpg')


def test_simple_format_by_path_and_stem(write):
    detect = load_detector(write({'a/x.jpg': [[0, 0, 1, 1]], 'b/x.jpg': [[0, 0, 2, 2]], 'y': [[0, 0, 3, 3]]}))
    assert boxes_of(detect, 'a/x.jpg') == [[0, 0, 1, 1]] and boxes_of(detect, 'b/x.jpg') == [[0, 0, 2, 2]]
    assert boxes_of(detect, 'photos/y.png') == [[0, 0, 3, 3]]


def test_simple_format_by_frame(write):
    detect = load_detector(write({'0': [[0, 0, 5, 5]], '7': [[1, 1, 6, 6]]}))
    assert [boxes_of(detect, 'any.mp4', t) for t in (0, 6, 7)] == [[[0, 0, 5, 5]], [], [[1, 1, 6, 6]]]
    assert boxes_of(detect, '', 7) == boxes_of(detect, 'frames/000007.png', 3) == [[1, 1, 6, 6]]
    with pytest.raises(ValueError, match='no boxes for street.jpg, but for 0, 7'):
        boxes_of(detect, 'street.jpg', 7)


ANNOTATIONS = dict(
    images=[dict(id=4, file_name='val/a.jpg'), dict(id=9, file_name='val/b.jpg')],
    annotations=[
        dict(id=1, image_id=4, category_id=3, bbox=[10, 20, 30, 40]),
        dict(id=2, image_id=4, category_id=8, bbox=[0, 0, 5, 5]),
        dict(id=3, image_id=4, category_id=3, bbox=[0, 0, 5, 5], iscrowd=1),
    ],
    categories=[dict(id=8, name='dog'), dict(id=3, name='person')],
)


def test_coco_annotations(write):
    """People only, no crowds; an image without annotations shows nobody, an unknown one is an error."""
    detect = load_detector(write(ANNOTATIONS))
    assert boxes_of(detect, 'val/a.jpg') == [[10, 20, 40, 60]] and boxes_of(detect, 'val/b.jpg') == []
    with pytest.raises(ValueError, match=r'no boxes for val/c.jpg'):
        boxes_of(detect, 'val/c.jpg')


def test_coco_annotations_are_found_by_file_name_alone(write):
    content = json.loads(json.dumps(ANNOTATIONS).replace('val/', ''))
    assert boxes_of(load_detector(write(content)), '/data/val/a.jpg') == [[10, 20, 40, 60]]


RESULTS = [
    dict(image_id=139, category_id=1, bbox=[1, 2, 3, 4], score=0.9),
    dict(image_id=139, category_id=1, bbox=[1, 2, 3, 4], score=0.2),
    dict(image_id=139, category_id=2, bbox=[9, 9, 9, 9], score=0.9),
    dict(image_id=4, category_id=1, bbox=[0, 0, 8, 8], score=0.5),
]


def test_coco_results(write):
    detect = load_detector(write(RESULTS), score_threshold=0.3)
    boxes, scores = detect(IMAGE, source='val2017/000000000139.jpg')
    assert boxes.tolist() == [[1, 2, 4, 6]] and np.allclose(scores, 0.9)
    assert boxes_of(detect, 'clip.mp4', 4) == [[0, 0, 8, 8]] and boxes_of(detect, 'clip.mp4', 5) == []
    assert boxes_of(detect, '000000000140.jpg') == []
    with pytest.raises(ValueError, match=r'no boxes for street.jpg'):
        boxes_of(detect, 'street.jpg')


def test_coco_results_with_annotations(write):
    annotations = write(ANNOTATIONS, 'annotations.json')
    detect = load_detector(dict(type='json', path=write(RESULTS), annotations=annotations))
    assert boxes_of(detect, 'val/a.jpg') == [[0, 0, 8, 8]] and boxes_of(detect, 'val/b.jpg') == []


def test_coco_results_with_names_for_ids(write):
    detect = load_detector(write([dict(image_id='a.jpg', bbox=[0, 0, 8, 8])]))
    assert boxes_of(detect, 'a.jpg') == [[0, 0, 8, 8]]


@pytest.mark.parametrize(
    'content, text',
    [
        ('{', 'is not a JSON file'),
        ('3', 'holds int, expected a mapping'),
        ({'a.jpg': [[0, 0, 5]]}, r'a.jpg, box 0 is \[0, 0, 5\], expected x1, y1, x2, y2'),
        ({'a.jpg': [[0, 0, 5, 5], [5, 0, 0, 5]]}, r'a.jpg, box 1 .* expected x1 < x2'),
        ('{"a.jpg": [[0, 0, NaN, 5]]}', 'a.jpg, box 0 is .*nan'),
        ({'a.jpg': [[0, 0, '5', 5]]}, 'a.jpg, box 0'),
        ({'a.jpg': 5}, 'a.jpg has 5, expected a list'),
        ({'a.mp4': {'first': []}}, "a.mp4 has the frame 'first', expected a number"),
        ({'a.mp4': {'3': [[0, 0, -1, 5]]}}, 'a.mp4, frame 3, box 0'),
        ([dict(image_id=1)], 'result 0 needs an image_id and a bbox'),
        ([dict(image_id=1, bbox=[0, 0, 0, 5])], 'result 0 has the bbox .* not positive'),
        ([dict(image_id=1, bbox=[0, 0, 5, None])], 'result 0 has .* finite'),
        ([5], 'list of COCO results'),
        (dict(images=[dict(id=1)], annotations=[]), 'images have id and file_name'),
        (dict(images=[], annotations=[dict(image_id=1, bbox=[0, 0, 5, 5])]), 'image 1, which is not listed'),
    ],
)
def test_bad_files_are_named(write, content, text):
    with pytest.raises(ValueError, match=rf'boxes.json.*{text}'):
        load_detector(write(content))


def test_the_longest_end_of_a_path_counts(write):
    detect = load_detector(
        write({'1.jpg': [[0, 0, 1, 1]], 'b/1.jpg': [[0, 0, 2, 2]], 'a/b/1.jpg': [[0, 0, 3, 3]]})
    )
    sides = {'1.jpg': 1, '/data/c/1.jpg': 1, '/data/c/b/1.jpg': 2, '/data/a/b/1.jpg': 3, 'a/b/1.jpg': 3}
    for source, side in sides.items():
        assert boxes_of(detect, source) == [[0, 0, side, side]]
