"""Boxes from files: three formats, by name and by frame, and what is refused."""

import json

import numpy as np
import pytest

from mmhier.detection import load_detector
from mmhier.file_endings import IMAGE_SUFFIXES

IMAGE = np.zeros((100, 100, 3), np.uint8)


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


@pytest.mark.parametrize('suffix', sorted(IMAGE_SUFFIXES))
def test_numbers_are_those_of_every_kind_of_picture(write, suffix):
    detect = load_detector(write({'0': [[0, 0, 5, 5]], '7': [[1, 1, 6, 6]]}))
    assert boxes_of(detect, f'a/0007{suffix}') == boxes_of(detect, f'a/7{suffix.upper()}') == [[1, 1, 6, 6]]
    with pytest.raises(ValueError, match='no boxes for'):
        boxes_of(detect, f'street{suffix}')
    assert boxes_of(detect, '0007.mp4', 0) == [[0, 0, 5, 5]]


def person(number=1, category=1, box=(10, 20, 30, 40), **more):
    return dict(id=number, image_id=4, category_id=category, bbox=list(box)) | more


def annotated(annotations, categories=(dict(id=1, name='person'),), **image):
    images = [dict(id=4, file_name='val/a.jpg') | image, dict(id=9, file_name='val/b.jpg')]
    return dict(images=images, annotations=annotations, categories=list(categories))


PLAYER, BALL = dict(id=3, name='player'), dict(id=5, name='ball')
FIRST = [[10, 20, 40, 60]]


@pytest.mark.parametrize(
    'annotations, categories, message',
    [
        ([person(category=3)], [PLAYER], 'only category, 3 player, is taken for people'),
        ([person(category='3')], [PLAYER], 'only category, 3 player'),
        ([person(category=0)], [dict(id=1, name='person')], 'only category, 0 person'),
        ([person(category=0)], [], 'only category, 0, is'),
        ([person(category=1)], [], None),
        ([person(category='Person'), person(2, 'car')], [], None),
        ([person(category='1')], [dict(id=1.0, name=' Person ')], None),
        ([person(category=3), person(2, 5)], [dict(id=3, name='Human'), BALL], None),
        ([person(image_id='4')], [dict(id=1, name='person')], None),
        ([person(image_id=4.0)], [dict(id=1, name='person')], None),
    ],
)
def test_which_category_is_people(write, caplog, annotations, categories, message):
    assert boxes_of(load_detector(write(annotated(annotations, categories))), 'a.jpg') == FIRST
    assert [one.getMessage() for one in caplog.records] == [] if message is None else message in caplog.text


@pytest.mark.parametrize(
    'annotations, categories, text',
    [
        ([person(category=3), person(2, 5)], [PLAYER, BALL], r'3 \(player\), 5 \(ball\), and none is called'),
        ([person(category=5)], [PLAYER, BALL], 'none is called person'),
        ([person(category=0), person(2, 1)], [], 'It has 0, 1, and none'),
        ([person(category=2), person(2, 7)], [], 'It has 2, 7, and none'),
        (
            [person(), person(2, 7)],
            [dict(id=1, name='person')],
            r'category_id 7 is not among .* 1 \(person\)',
        ),
        ([person(category=0)], [dict(id=1, name='person'), BALL], 'category_id 0 is not among'),
    ],
)
def test_categories_that_may_or_may_not_be_people_are_refused(write, annotations, categories, text):
    with pytest.raises(ValueError, match=rf'boxes.json.*{text}'):
        load_detector(write(annotated(annotations, categories)))


def test_scores_of_another_scale_are_said(write, caplog):
    load_detector(write([person(score=90)]), score_threshold=0.3)
    assert (
        'its scores reach 90, the least score asked for, 0.3, is meant for scores from 0 to 1' in caplog.text
    )
    caplog.clear()
    load_detector(write([person(score=1.0)]), score_threshold=0.3)
    assert not caplog.records


def test_what_is_not_used_is_counted(write):
    content = annotated(
        [person(), person(2, 5), person(3, 5), person(4, iscrowd=1), person(5, score=0.1), person(6, box=())],
        [dict(id=1, name='person'), BALL],
    )
    detect = load_detector(write(content))
    assert detect.count == 2 and not detect.left_out
    assert boxes_of(detect, 'b.jpg') == [] and not detect.left_out and detect.used == 0
    assert boxes_of(detect, 'a.jpg') == FIRST and detect.used == 1
    assert detect.left_out == {
        'boxes of the category ball, no people': 2,
        'boxes of crowds': 1,
        'boxes without a bbox': 1,
        'boxes with a score below 0.3': 1,
    }


NAMES = {
    'C:\\data\\val\\a.jpg': 'photos/a.jpg',
    'val\\a.jpg': 'val/a.jpg',
    './a.jpg': 'photos/a.jpg',
    'A.JPG': 'photos/a.jpg',
    '/mnt/disk/val/a.jpg': '/home/me/val/a.jpg',
    'ru\u0308ckwa\u0308rts.jpg': 'r\u00fcckw\u00e4rts.jpg',
    'val/a': 'val/a.jpg',
}


@pytest.mark.parametrize('name, path', NAMES.items())
def test_names_as_other_programs_write_them(write, name, path):
    others = {'val/b.jpg': [], 'other.png': []}
    assert boxes_of(load_detector(write({name: [[0, 0, 5, 5]]} | others)), path) == [[0, 0, 5, 5]]


def test_names_that_fit_several_times_are_refused(write):
    detect = load_detector(write({'x/a.jpg': [[0, 0, 5, 5]], 'y/a.jpg': [[0, 0, 6, 6]]}))
    assert boxes_of(detect, 'data/y/a.jpg') == [[0, 0, 6, 6]]
    with pytest.raises(ValueError, match=r'boxes.json: z/a.jpg may be any of 2 names: x/a.jpg, y/a.jpg'):
        boxes_of(detect, 'z/a.jpg')
    with pytest.raises(ValueError, match='names of the same image'):
        load_detector(write({'x/a.jpg': [], 'x\\a.jpg': []}))


def test_a_name_in_another_folder_is_said_once(write, caplog):
    detect = load_detector(write({'x/a.jpg': [[0, 0, 5, 5]], 'x/b.jpg': []}))
    assert boxes_of(detect, 'y/a.jpg') == [[0, 0, 5, 5]] and boxes_of(detect, 'y/b.jpg') == []
    assert caplog.text.count('boxes of x/a.jpg are taken for y/a.jpg') == len(caplog.records) == 1


def test_corners_in_the_place_of_sizes_are_refused(write):
    corners = [person(box=(50, 60, 90, 95)), person(2, box=(5, 5, 30, 40))]
    with pytest.raises(ValueError, match=r'boxes.json: as x, y, width, height the bbox \[50, 60, 90, 95\]'):
        boxes_of(load_detector(write(annotated(corners))), 'a.jpg')
    # The same box beside one that cannot be corners: somebody who is cut off by the image's border.
    sizes = [*corners, person(3, box=(60, 70, 30, 20))]
    assert len(boxes_of(load_detector(write(annotated(sizes))), 'a.jpg')) == 3


def test_sizes_in_the_place_of_corners_are_refused(write):
    with pytest.raises(ValueError, match='corners, not x, y, width, height'):
        load_detector(write({'a.jpg': [[60, 70, 30, 20]]}))


def test_fractions_of_the_image_are_refused(write):
    with pytest.raises(ValueError, match='look like fractions of the image'):
        load_detector(write({'a.jpg': [[0.1, 0.2, 0.5, 1.0]]}))


@pytest.mark.parametrize(
    'width, height, text', [(50, 100, '50 x 100 .* but 100 x 50 .*exchanged.* EXIF'), (25, 50, '')]
)
def test_an_image_of_another_size_is_refused(write, width, height, text):
    content = annotated([person(box=(1, 1, 9, 9))], width=width, height=height)
    with pytest.raises(ValueError, match=rf'boxes.json: val/a.jpg is {text}'):
        load_detector(write(content))(np.zeros((50, 100, 3), np.uint8), 'val/a.jpg')
    content['images'][0].update(width=100, height=50)
    assert len(load_detector(write(content))(np.zeros((50, 100, 3), np.uint8), 'val/a.jpg')[0]) == 1


def test_ids_as_text_and_a_byte_order_mark(write, tmp_path):
    path = write([dict(image_id='000000000139', category_id='1', bbox=[0, 0, 8, 8])])
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert boxes_of(load_detector(path), '139.jpg') == [[0, 0, 8, 8]]
    with pytest.raises(ValueError, match='image id 4 is of val/a.jpg and of val/b.jpg'):
        content = annotated([])
        content['images'][1]['id'] = '4'
        load_detector(write(content))
