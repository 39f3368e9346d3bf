"""Tensors of other shapes are refused by name, by the entrance and by the C++ operators themselves."""

import pytest
import torch

from mmhier.ops.selective_scan import cpp, cross_selective_scan, selective_scan

FLAT = dict(u=(2, 6, 5), delta=(2, 6, 5), A=(6, 3), B=(2, 2, 3, 5), C=(2, 2, 3, 5), D=(6,), delta_bias=(6,))
MAPS = dict(
    x=(2, 3, 4, 5),
    dt=(2, 3, 4, 4, 2),
    A=(20, 3),
    B=(2, 3, 4, 4, 3),
    C=(2, 3, 4, 4, 3),
    D=(20,),
    delta_bias=(20,),
)
MAPS['dt_weight'] = (20, 2)


def tensors(shapes):
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def spoilt(shapes, name):
    """One more along each axis in turn, and an axis too many."""
    shape = shapes[name]
    for axis in range(len(shape)):
        yield shapes | {name: (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])}
    yield shapes | {name: (*shape, 1)}


@pytest.mark.parametrize('name', FLAT)
def test_sequences(name):
    selective_scan(**tensors(FLAT), backend='torch')
    for shapes in spoilt(FLAT, name):
        with pytest.raises(ValueError, match='selective scan: '):
            selective_scan(**tensors(shapes), backend='torch')


@pytest.mark.parametrize('name', MAPS)
def test_maps(name):
    cross_selective_scan(**tensors(MAPS), backend='torch')
    for shapes in spoilt(MAPS, name):
        with pytest.raises(ValueError, match='selective scan: '):
            cross_selective_scan(**tensors(shapes), backend='torch')


def test_the_message_names_tensor_and_shapes():
    with pytest.raises(ValueError, match=r'delta_bias has the shape \(7,\), expected \(6,\)'):
        selective_scan(**tensors(FLAT | dict(delta_bias=(7,))))


@pytest.fixture
def operators():
    if reason := cpp.is_available():
        pytest.skip(reason)
    return torch.ops.mmhier


@pytest.mark.parametrize('name', FLAT)
def test_the_operator_for_sequences(operators, name):
    operators.selective_scan(*tensors(FLAT).values(), True)
    for shapes in spoilt(FLAT, name):
        with pytest.raises((ValueError, IndexError)):
            operators.selective_scan(*tensors(shapes).values(), True)
        with pytest.raises((ValueError, IndexError)):
            operators.selective_scan_backward(torch.zeros(FLAT['u']), *tensors(shapes).values(), True)


@pytest.mark.parametrize('name', MAPS)
def test_the_operator_for_maps(operators, name):
    def run(operator, shapes, *before):
        *inputs, weight = tensors(shapes).values()
        return operator(*before, *inputs, True, weight)

    run(operators.cross_selective_scan, MAPS)
    for shapes in spoilt(MAPS, name):
        with pytest.raises((ValueError, IndexError)):
            run(operators.cross_selective_scan, shapes)
        with pytest.raises((ValueError, IndexError)):
            run(operators.cross_selective_scan_backward, shapes, torch.zeros(MAPS['x']))


def test_the_gradient_has_the_shape_of_the_result(operators):
    with pytest.raises(ValueError, match='dy is'):
        operators.selective_scan_backward(torch.zeros(2, 6, 4), *tensors(FLAT).values(), True)
    with pytest.raises(ValueError, match='dy is'):
        *inputs, weight = tensors(MAPS).values()
        operators.cross_selective_scan_backward(torch.zeros(2, 3, 3, 5), *inputs, True, weight)
