"""YOLOX, RTMDet and D-FINE files: tiny graphs of each layout whose boxes are known by hand."""

import sys

import cv2
import numpy as np
import pytest

from mmhier.detection import load_detector
from mmhier.detection.onnx_detector import grid_cells, letterbox, stretch, suppress

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
IMAGE = np.full((32, 64, 3), 90, np.uint8)  # fits an input of 64 without scaling


def save(path, outputs, input_shape=(1, 3, SIDE, SIDE), input_type=TensorProto.FLOAT):
    """A network whose outputs are constants, plus zero times the sum of its input."""
    nodes = [
        helper.make_node('Cast', ['images'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('ReduceSum', ['float'], ['sum'], keepdims=0),
        helper.make_node('Mul', ['sum', 'zero'], ['nothing']),
    ]
    constants = [numpy_helper.from_array(np.zeros((), np.float32), 'zero')]
    infos = []
    for name, array in outputs.items():
        constants.append(numpy_helper.from_array(array, f'{name}_constant'))
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        nodes.append(helper.make_node('Cast', ['nothing'], [f'{name}_nothing'], to=kind))
        nodes.append(helper.make_node('Add', [f'{name}_constant', f'{name}_nothing'], [name]))
        infos.append(helper.make_tensor_value_info(name, kind, array.shape))
    inputs = [helper.make_tensor_value_info('images', input_type, input_shape)]
    return write(path, nodes, inputs, infos, constants)


def write(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, 'detector', inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def grid_output(rows, classes=2, cells=CELLS):
    """(1, cells, 5 + classes): offsets 0.5, sizes of a cell, no objectness but in the given rows."""
    output = np.zeros((1, cells, 5 + classes), np.float32)
    output[0, :, :2] = 0.5
    for index, row in rows.items():
        output[0, index] = row
    return output


# Stride 8: cell 8 * row + column. Column 3, row 2: centre (3.5, 2.25) cells = (28, 18) pixels; a size of
# (2, 1) cells = (16, 8) pixels. Stride 16 begins at 64: column 1, row 0: centre (24, 8), size (16, 16).
GRID = {
    8 * 2 + 3: [0.5, 0.25, np.log(2), 0, 0.9, 0.8, 0.1],
    64 + 1: [0.5, 0.5, 0, 0, 0.5, 1.0, 0.0],
    64 + 6: [0.5, 0.5, 0, 0, 1.0, 0.1, 0.9],  # another class
    8 * 2 + 4: [-0.5, 0.25, np.log(2), 0, 0.9, 0.7, 0.0],  # the first one again
}
GRID_BOXES = [[20, 14, 36, 22], [16, 0, 32, 16]]
GRID_SCORES = [0.72, 0.5]


def test_yolox_grid(tmp_path):
    detect = load_detector(save(tmp_path / 'a.onnx', {'output': grid_output(GRID)}))
    boxes, scores = detect(IMAGE)
    assert detect.layout == 'grid' and detect.family == 'yolox' and detect.input_hw == (SIDE, SIDE)
    np.testing.assert_allclose(boxes, GRID_BOXES, atol=1e-4)
    np.testing.assert_allclose(scores, GRID_SCORES, atol=1e-6)
    assert boxes.dtype == scores.dtype == np.float32


def decode(output, strides=(8, 16, 32)):
    """As ``--decode_in_inference`` does, cell by cell."""
    decoded, index = output.copy(), 0
    for stride in strides:
        for row in range(SIDE // stride):
            for column in range(SIDE // stride):
                x, y, width, height = output[0, index, :4]
                decoded[0, index, :4] = [
                    (x + column) * stride,
                    (y + row) * stride,
                    np.exp(width) * stride,
                    np.exp(height) * stride,
                ]
                index += 1
    assert index == output.shape[1]
    return decoded


def test_yolox_decoded(tmp_path):
    detect = load_detector(save(tmp_path / 'a.onnx', {'output': decode(grid_output(GRID))}))
    boxes, scores = detect(IMAGE)
    assert detect.layout == 'decoded'
    assert detect.left_out == {'detections of other things than people': 1}
    np.testing.assert_allclose(boxes, GRID_BOXES, atol=1e-4)
    np.testing.assert_allclose(scores, GRID_SCORES, atol=1e-6)


@pytest.mark.parametrize('seed', range(5))
def test_grid_and_decoded_are_told_apart(tmp_path, seed):
    """Offsets and sizes of a wild network: standard deviations of two cells and of a factor of e."""
    rng = np.random.default_rng(seed)
    output = grid_output({})
    output[0, :, :4] = rng.normal([0.5, 0.5, 0, 0], [2, 2, 1, 1], (CELLS, 4))
    layouts = [
        load_detector(save(tmp_path / 'a.onnx', {'output': array})).layout
        for array in (output, decode(output))
    ]
    assert layouts == ['grid', 'decoded']


def test_yolox_with_a_fourth_stride(tmp_path):
    output = grid_output({CELLS: [0.5, 0.5, 0, 0, 1, 1, 0]}, cells=CELLS + 1)
    for array, layout in [(output, 'grid'), (decode(output, (8, 16, 32, 64)), 'decoded')]:
        detect = load_detector(save(tmp_path / 'a.onnx', {'output': array}))
        boxes, scores = detect(IMAGE)
        assert detect.layout == layout and boxes.tolist() == [[0, 0, 64, 32]] and scores.tolist() == [1]


def test_person_class_and_thresholds(tmp_path):
    path = save(tmp_path / 'a.onnx', {'output': grid_output(GRID)})
    boxes, _ = load_detector(dict(type='onnx', path=path, person_class=1))(IMAGE)
    np.testing.assert_allclose(boxes, [[32, 16, 48, 32]], atol=1e-4)
    assert len(load_detector(path, score_threshold=0.6)(IMAGE)[0]) == 1
    assert load_detector(path, score_threshold=0.95)(IMAGE)[0].shape == (0, 4)
    assert len(load_detector(dict(type='onnx', path=path, nms_iou=1.0))(IMAGE)[0]) == 3


DETS = np.array(
    [[[8, 8, 24, 40, 0.9], [0, 0, 9, 9, 0.8], [2, 2, 9, 9, 0.1], [50, 0, 90, 20, 0.7]]], np.float32
)
LABELS = np.array([[0, 2, 0, 0]], np.int64)


def test_mmdeploy(tmp_path):
    """Class 2 and the score 0.1 are dropped; the last box is cut off at the border."""
    path = save(tmp_path / 'rtmdet_tiny.onnx', {'dets': DETS, 'labels': LABELS})
    detect = load_detector(path)
    boxes, scores = detect(IMAGE)
    assert detect.layout == 'dets, labels' and detect.family == 'rtmdet'
    assert boxes.tolist() == [[8, 8, 24, 32], [50, 0, 64, 20]] and np.allclose(scores, [0.9, 0.7])


def test_mmdeploy_file_has_to_say_which(tmp_path):
    path = save(tmp_path / 'end2end.onnx', {'labels': LABELS, 'dets': DETS})
    with pytest.raises(
        ValueError, match=r"end2end.onnx has MMDeploy's outputs .* 'rtmdet:.*end2end.onnx' or 'yolox:"
    ):
        load_detector(path)
    for family in ('rtmdet', 'yolox'):
        assert load_detector(f'{family}:{path}').family == family
    assert load_detector(dict(type='onnx', path=path, family='yolox')).family == 'yolox'
    with pytest.raises(ValueError, match="family='yolo'"):
        load_detector(dict(type='onnx', path=path, family='yolo'))


def logit(score):
    return np.log(score / (1 - score))


# Person 0.8 and another class 0.3; two people who overlap are two; a chair; nobody.
QUERIES = {
    'logits': logit(np.array([[[0.8, 0.3], [0.6, 0.1], [0.5, 0.9], [0.2, 0.1]]])).astype(np.float32),
    'pred_boxes': np.array(
        [[[0.5, 0.5, 0.5, 1.0], [0.5, 0.5, 0.5, 0.9], [0.25, 0.5, 0.1, 0.2], [0.5, 0.5, 1, 1]]], np.float32
    ),
}


def test_dfine(tmp_path):
    """Boxes are parts of the image, whatever its shape; nothing is suppressed."""
    detect = load_detector(save(tmp_path / 'a.onnx', QUERIES))
    boxes, scores = detect(np.full((100, 200, 3), 90, np.uint8))
    assert detect.layout == 'logits, pred_boxes' and detect.family == 'dfine'
    np.testing.assert_allclose(boxes, [[50, 0, 150, 100], [50, 5, 150, 95], [40, 40, 60, 60]], atol=1e-4)
    np.testing.assert_allclose(scores, [0.8, 0.6, 0.5], atol=1e-6)
    assert sum(detect.left_out.values()) == 1
    assert len(load_detector(dict(type='onnx', path=tmp_path / 'a.onnx', score_threshold=0.7))(IMAGE)[0]) == 1


@pytest.mark.parametrize('size', [SIDE, 'any'])
def test_what_dfine_sees(tmp_path, size):
    """Red, green and blue from 0 to 1, stretched to the whole input: the box is the colour of a pixel."""
    constants = [
        numpy_helper.from_array(np.array(numbers, np.int64), name)
        for name, numbers in [('from', [0, 0, 5, 60]), ('to', [1, 3, 6, 61]), ('shape', [1, 1, 3])]
    ]
    constants.append(numpy_helper.from_array(np.array([[[1.0]]], np.float32), 'rest'))
    constants.append(numpy_helper.from_array(np.array([[[9.0]]], np.float32), 'logits_constant'))
    nodes = [
        helper.make_node('Slice', ['images', 'from', 'to'], ['pixel']),
        helper.make_node('Reshape', ['pixel', 'shape'], ['colour']),
        helper.make_node('Concat', ['colour', 'rest'], ['pred_boxes'], axis=2),
        helper.make_node('Identity', ['logits_constant'], ['logits']),
    ]
    shape = (1, 3, SIDE, SIDE) if size == SIDE else ('batch', 3, 'height', 'width')
    inputs = [helper.make_tensor_value_info('images', TensorProto.FLOAT, shape)]
    outputs = [
        helper.make_tensor_value_info('logits', TensorProto.FLOAT, (1, 1, 1)),
        helper.make_tensor_value_info('pred_boxes', TensorProto.FLOAT, (1, 1, 4)),
    ]
    path = write(tmp_path / 'a.onnx', nodes, inputs, outputs, constants)
    image = np.zeros((32, 128, 3), np.uint8)
    column = 60 * 128 // (SIDE if size == SIDE else 640)
    image[:, column - 4 : column + 8] = (51, 102, 204)
    boxes, _ = load_detector(path)(image)
    red, green, blue = 0.8, 0.4, 0.2
    expected = [red - blue / 2, green - 0.5, red + blue / 2, green + 0.5] * np.array([128, 32, 128, 32])
    np.testing.assert_allclose(boxes, [expected.clip(0, [128, 32, 128, 32])], atol=1e-3)


def test_a_stretched_picture_is_that_of_torch(tmp_path):
    """Pillow's triangle filter is what ``antialias=True`` computes."""
    import torch

    image = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    ours, scale_xy = stretch(image, (64, 96))
    batch = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(batch, (64, 96), mode='bilinear', antialias=True)
    difference = np.abs(ours - theirs[0].permute(1, 2, 0).numpy())
    assert difference.max() < 1.01  # Pillow rounds twice, to whole numbers
    np.testing.assert_allclose(scale_xy, [96 / 200, 64 / 300])


def test_a_family_that_the_file_is_not(tmp_path):
    for outputs, family in ((QUERIES, 'yolox'), ({'output': grid_output(GRID)}, 'dfine')):
        path = save(tmp_path / 'a.onnx', outputs)
        with pytest.raises(ValueError, match=f'not those of {family}'):
            load_detector(f'{family}:{path}')


def save_pixel_reader(path, x, y, side=SIDE):
    """A network of MMDeploy's outputs whose box is the blue, green and red it sees at a pixel."""
    constants = [
        numpy_helper.from_array(np.array(numbers, np.int64), name)
        for name, numbers in [('from', [0, 0, y, x]), ('to', [1, 3, y + 1, x + 1]), ('shape', [1, 1, 3])]
    ]
    constants += [
        numpy_helper.from_array(np.array([[[500.0, 1.0]]], np.float32), 'rest'),
        numpy_helper.from_array(np.zeros((1, 1), np.int64), 'labels_constant'),
    ]
    nodes = [
        helper.make_node('Slice', ['images', 'from', 'to'], ['pixel']),
        helper.make_node('Reshape', ['pixel', 'shape'], ['colour']),
        helper.make_node('Concat', ['colour', 'rest'], ['dets'], axis=2),
        helper.make_node('Identity', ['labels_constant'], ['labels']),
    ]
    inputs = [helper.make_tensor_value_info('images', TensorProto.FLOAT, (1, 3, side, side))]
    outputs = [
        helper.make_tensor_value_info('dets', TensorProto.FLOAT, (1, 1, 5)),
        helper.make_tensor_value_info('labels', TensorProto.INT64, (1, 1)),
    ]
    return write(path, nodes, inputs, outputs, constants)


def test_what_yolox_sees(tmp_path):
    """BGR as it is, scaled to fit, grey below. Boxes come back at the image's scale: two to one."""
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, :64], image[:, 64:] = (10, 20, 30), (50, 60, 70)
    for (x, y), colour in {(0, 0): (10, 20, 30), (63, 31): (50, 60, 70), (5, 32): (114, 114, 114)}.items():
        detect = load_detector(f'yolox:{save_pixel_reader(tmp_path / "a.onnx", x, y)}')
        boxes, scores = detect(image)
        left, top, right = 2 * np.array(colour)
        expected = np.array([left, top, right, 1000]).clip(0, [128, 64, 128, 64])
        if (expected[2:] > expected[:2]).all():
            np.testing.assert_allclose(boxes, [expected], atol=1e-4)
            assert scores.tolist() == [1]
        else:
            assert len(boxes) == 0


def test_what_rtmdet_sees(tmp_path):
    """Blue, green and red minus their means over their standard deviations."""
    image = np.full((64, 64, 3), (120, 240, 250), np.uint8)
    boxes, _ = load_detector(f'rtmdet:{save_pixel_reader(tmp_path / "a.onnx", 3, 4)}')(image)
    expected = [(120 - 103.53) / 57.375, (240 - 116.28) / 57.12, (250 - 123.675) / 58.395, 64]
    np.testing.assert_allclose(boxes, [expected], rtol=1e-5)


def test_letterbox():
    image = np.random.default_rng(0).integers(0, 255, (50, 30, 3), np.uint8)
    padded, scale = letterbox(image, (100, 100))
    assert padded.shape == (100, 100, 3) and scale.tolist() == [2, 2]
    assert (padded[:, 60:] == 114).all()
    assert np.array_equal(padded[:, :60], cv2.resize(image, (60, 100)))
    tiny, scale = letterbox(np.zeros((1, 5000, 3), np.uint8), (64, 64))
    assert (tiny[0] == 0).all() and (tiny[1:] == 114).all() and np.allclose(scale, [64 / 5000, 1])
    assert letterbox(np.zeros((1, 1, 3), np.uint8), (64, 64))[1].tolist() == [64, 64]


def test_open_input_size_and_half_precision(tmp_path):
    path = save(
        tmp_path / 'a.onnx',
        {'output': grid_output(GRID)},
        ('batch', 3, 'h', 'w'),
        input_type=TensorProto.FLOAT16,
    )
    detect = load_detector(dict(type='onnx', path=path, input_size=[64, 64]))
    np.testing.assert_allclose(detect(IMAGE)[0], GRID_BOXES, atol=1e-4)
    with pytest.raises(
        ValueError, match=r'outputs output \(1, 84, 7\) for an input of 640 x 640: expected YOLOX'
    ):
        load_detector(path)


@pytest.mark.parametrize(
    'outputs, text',
    [
        ({'output0': np.zeros((1, 6, CELLS), np.float32)}, r'outputs output0 \(1, 6, 84\)'),
        ({'output': np.zeros((1, 25200, 85), np.float32)}, r'outputs output \(1, 25200, 85\)'),
        (
            {'boxes': np.zeros((1, 9, 4), np.float32), 'scores': np.zeros((1, 9), np.float32)},
            r'boxes \(1, 9, 4\), scor',
        ),
        ({'heatmaps': np.zeros((1, 17, 8, 8), np.float32)}, 'heatmaps'),
        ({'output': np.full((1, CELLS, 85), np.nan, np.float32)}, 'not finite for a grey image'),
    ],
)
def test_unknown_layouts_are_named(tmp_path, outputs, text):
    with pytest.raises(ValueError, match=rf'a.onnx .*{text}'):
        load_detector(save(tmp_path / 'a.onnx', outputs))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / 'a.onnx'
    path.write_text('no network')
    with pytest.raises(ValueError, match=r'a.onnx is not an ONNX file'):
        load_detector(path)
    save(path, {'output': grid_output(GRID)}, (1, 1, SIDE, SIDE))
    with pytest.raises(ValueError, match=r'inputs images \[1, 1, 64, 64\] .* expected one, images'):
        load_detector(path)
    save(path, {'output': grid_output(GRID)}, (8, 3, SIDE, SIDE))
    with pytest.raises(ValueError, match=r'inputs images \[8, 3, 64, 64\] .* expected one, images'):
        load_detector(path)
    save_pixel_reader(path, 700, 4, side='any')
    with pytest.raises(ValueError, match=r'a.onnx cannot take an image of 640 x 640'):
        load_detector(path)


def test_without_onnxruntime(tmp_path, monkeypatch):
    path = save(tmp_path / 'a.onnx', {'output': grid_output(GRID)})
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ImportError, match='pip install onnxruntime'):
        load_detector(path)


def test_images_of_another_kind_are_refused(tmp_path):
    detect = load_detector(save(tmp_path / 'a.onnx', {'output': grid_output(GRID)}))
    for image in (IMAGE[..., 0], IMAGE.astype(np.uint16), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match=r'needs an image \(H, W, 3\) of uint8'):
            detect(image)


def test_suppression_equals_the_definition():
    """Take the best box, drop what overlaps it, repeat."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (200, 2))], axis=1)
    scores = rng.uniform(0, 1, 200)
    left, expected = list(np.argsort(-scores)), []
    while left:
        best = left.pop(0)
        expected.append(best)
        left = [other for other in left if iou(boxes[best], boxes[other]) <= 0.45]
    assert 5 < len(expected) < 100 and suppress(boxes, scores, 0.45).tolist() == expected
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.45).shape == (0,)


def iou(a, b):
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_grid_order():
    corners, strides = grid_cells((16, 32), (8, 16))
    assert corners.tolist() == [
        [0, 0],
        [1, 0],
        [2, 0],
        [3, 0],
        [0, 1],
        [1, 1],
        [2, 1],
        [3, 1],
        [0, 0],
        [1, 0],
    ]
    assert strides.ravel().tolist() == [8] * 8 + [16] * 2
