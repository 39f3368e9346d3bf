"""Boxes of the user's, of any kind, reach the frames they are of."""

import json

import numpy as np
import pytest

from mmhier.inference.boxes import load_boxes
from mmhier.results.files import ResultLines, finish
from mmhier.testing.results import make_result

IMAGE = np.zeros((96, 128, 3), np.uint8)


def test_an_array_is_for_every_frame():
    boxes, scores = load_boxes([[1, 2, 3, 4]])(IMAGE, 'a.jpg', 3)
    assert boxes.tolist() == [[1, 2, 3, 4]] and scores.tolist() == [1]
    boxes, scores = load_boxes(np.array([[1, 2, 3, 4, 0.2], [5, 6, 7, 8, 0.9]]), 0.5)(IMAGE)
    assert boxes.tolist() == [[5, 6, 7, 8]] and scores == pytest.approx([0.9])
    assert load_boxes([])(IMAGE)[0].shape == (0, 4)
    with pytest.raises(ValueError, match=r'got \(1, 3\)'):
        load_boxes([[1, 2, 3]])


def test_a_function_sees_frame_and_place():
    def find(image, source, frame_index):
        return [[0, 0, image.shape[1], frame_index]] if source == 'b.mp4' else []

    boxes, _ = load_boxes(find)(IMAGE, 'b.mp4', 7)
    assert boxes.tolist() == [[0, 0, 128, 7]]
    assert len(load_boxes(find)(IMAGE, 'a.mp4', 7)[0]) == 0


@pytest.mark.parametrize('finished', [True, False])
def test_results_of_an_earlier_run(tmp_path, finished):
    path = tmp_path / 'results.jsonl'
    lines = ResultLines(path)
    for number in range(3):
        lines.write(make_result(number, people=number))
    lines.close()
    if finished:
        (path,) = finish(path, ['json'])
    detector = load_boxes(path, 0.5)
    assert [len(detector(IMAGE, 'moved/clip.mp4', number)[0]) for number in range(4)] == [0, 1, 2, 0]
    np.testing.assert_array_equal(detector(IMAGE, 'clip.mp4', 2)[0][1], [13, 13, 63, 83])
    assert len(load_boxes(path, 0.95)(IMAGE, 'clip.mp4', 2)[0]) == 0
    with pytest.raises(ValueError, match='no results of other.mp4'):
        detector(IMAGE, 'other.mp4', 0)


def test_results_are_known_however_they_are_written(tmp_path):
    lines = ResultLines(tmp_path / 'results.jsonl')
    lines.write(make_result(0))
    lines.close()
    (path,) = finish(lines.path, ['json'])
    path.write_text('\n\n' + json.dumps(json.loads(path.read_text()), indent=4))
    detector = load_boxes(path, 0.95)
    assert len(detector(IMAGE, 'C:\\moved\\clip.mp4', 0)[0]) == 0
    assert detector.left_out == {'boxes with a score below 0.95': 2} and detector.used == 0
    with pytest.raises(ValueError, match='clip.mp4 has 128 x 96 pixels there, clip.mp4 has 64 x 96'):
        detector(IMAGE[:, :64], 'clip.mp4', 0)


def test_files_of_the_same_name_keep_their_own_boxes(tmp_path):
    lines = ResultLines(tmp_path / 'results.jsonl')
    for people, source in enumerate(('a/1.jpg', 'b/1.jpg')):
        lines.write(make_result(people=people, source=source, kind='image'))
    lines.close()
    detector = load_boxes(lines.path)
    assert [len(detector(IMAGE, source)[0]) for source in ('a/1.jpg', 'b/1.jpg')] == [0, 1]
    with pytest.raises(ValueError, match=r'c/1.jpg may be any of 2 names: a/1.jpg, b/1.jpg'):
        detector(IMAGE, 'c/1.jpg')


@pytest.mark.parametrize(
    'given', [{'a.jpg': [[1, 2, 3, 4]]}, [[1, 2, 3, 4], [1, 2, 3, 4, 5]], [['a', 1, 2, 3]]]
)
def test_what_is_no_table_is_named(given):
    with pytest.raises(ValueError, match=r'boxes must be a file.*got .*1, 2, 3'):
        load_boxes(given)


def test_other_files_are_for_the_detection_package(tmp_path):
    (tmp_path / 'boxes.json').write_text('{"a.jpg": [[1, 2, 3, 4, 0.5]]}')
    boxes, scores = load_boxes(tmp_path / 'boxes.json')(IMAGE, 'folder/a.jpg')
    assert boxes.tolist() == [[1, 2, 3, 4]] and scores == pytest.approx([0.5])
    with pytest.raises(FileNotFoundError):
        load_boxes(tmp_path / 'absent.json')
