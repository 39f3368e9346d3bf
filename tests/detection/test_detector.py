"""What all sources of boxes share, and how they are named."""

import subprocess
import sys

import numpy as np
import pytest

from mmhier.detection import load_detector

IMAGE = np.zeros((40, 60, 3), np.uint8)


def test_whole_image():
    boxes, scores = load_detector('whole_image')(IMAGE)
    assert boxes.tolist() == [[0, 0, 60, 40]] and scores.tolist() == [1]
    assert boxes.dtype == scores.dtype == np.float32


def test_function():
    detect = load_detector(lambda image: ([[0, 0, 5, 5], [1, 1, image.shape[1], 9]], [0.2, 0.8]), 0.5)
    boxes, scores = detect(IMAGE)
    assert boxes.tolist() == [[1, 1, 60, 9]] and np.allclose(scores, 0.8) and boxes.dtype == np.float32
    boxes, scores = load_detector(lambda image: [[0, 0, 5, 5]])(IMAGE)
    assert boxes.tolist() == [[0, 0, 5, 5]] and scores.tolist() == [1]
    boxes, scores = load_detector(lambda image: [])(IMAGE)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_function_that_wants_the_source():
    def find(image, source, frame_index):
        return [[0, 0, frame_index, len(source)]]

    assert load_detector(find)(IMAGE, source='a.jpg', frame_index=7)[0].tolist() == [[0, 0, 7, 5]]


def test_result_of_a_function_is_checked():
    def broken(image):
        return [[0, 0, float('nan'), 5]]

    with pytest.raises(ValueError, match=r'boxes of broken\[0\]'):
        load_detector(broken)(IMAGE)
    with pytest.raises(ValueError, match=r'scores of the boxes of <lambda> must be \(1,\)'):
        load_detector(lambda image: ([[0, 0, 5, 5]], [0.5, 0.5]))(IMAGE)


@pytest.mark.parametrize('spec', ['yolo', 'detector.pt', dict(type='yolo'), dict(path='a.json'), ''])
def test_unknown_detector(spec):
    with pytest.raises(
        ValueError, match=r"unknown detector .*'whole_image', a .json .* onnx, torchvision, mmdet"
    ):
        load_detector(spec)


def test_settings_of_a_dict():
    with pytest.raises(
        ValueError, match='needs path and has the settings path, score_threshold, annotations'
    ):
        load_detector(dict(type='json', path='a.json', size=3))
    with pytest.raises(ValueError, match='needs config, weights'):
        load_detector('mmdet:config.py')
    assert load_detector(dict(type='whole_image'))(IMAGE)[0].shape == (1, 4)


@pytest.mark.parametrize('spec', ['missing.json', 'missing.onnx', 'yolox:missing.onnx'])
def test_missing_file(spec):
    if spec.endswith('.onnx'):
        pytest.importorskip('onnxruntime')
    with pytest.raises(FileNotFoundError, match=r'^missing\.'):
        load_detector(spec)


def test_needs_no_framework():
    """Detection and tracking import neither torch nor OpenCV nor onnxruntime by themselves."""
    code = (
        'import sys, mmhier.detection, mmhier.tracking; '
        "print([name for name in ('torch', 'cv2', 'onnxruntime', 'mmpose') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
