import math

import pytest
import torch

from mmhier.geometry import rotations as R

ANGLES = [0.0, 1e-8, 1e-5, 0.0099, 0.0101, 0.02, 0.5, 2.0, 3.0, math.pi - 1e-3, math.pi - 1e-7]


def random_axis_angle(count, angle, dtype=torch.float64, seed=0):
    axis = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (torch.nn.functional.normalize(axis, dim=-1) * angle).to(dtype)


def columns_of(matrix, layout='contiguous'):
    """The first two columns (..., 6) of matrices, in a layout."""
    columns = matrix[..., :2]
    return (columns.mT if layout == 'contiguous' else columns).flatten(-2)


def test_convention_axis_angle_turns_counter_clockwise():
    matrix = R.axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi / 6]))
    turned = matrix @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(turned, torch.tensor([math.cos(math.pi / 6), 0.5, 0.0]))


def test_convention_axis_angle_is_the_matrix_exponential():
    vector = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64)
    expected = torch.linalg.matrix_exp(R.cross_matrix(vector))
    torch.testing.assert_close(R.axis_angle_to_matrix(vector), expected)


def test_convention_6d_layouts_are_columns():
    matrix = R.axis_angle_to_matrix(torch.tensor([0.3, -0.8, 1.1]))
    a, b = matrix[:, 0], matrix[:, 1]
    contiguous, interleaved = torch.cat([a, b]), torch.stack([a[0], b[0], a[1], b[1], a[2], b[2]])
    torch.testing.assert_close(R.rotation_6d_to_matrix(contiguous), matrix)
    torch.testing.assert_close(R.rotation_6d_to_matrix(interleaved, layout='interleaved'), matrix)
    # The vector that HMR2.0 decodes to the identity.
    identity = R.rotation_6d_to_matrix(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
    torch.testing.assert_close(identity, torch.eye(3))


def test_convention_quaternion_is_real_part_first():
    quaternion = torch.tensor([math.cos(0.2), math.sin(0.2), 0.0, 0.0])
    torch.testing.assert_close(R.quaternion_to_axis_angle(quaternion), torch.tensor([0.4, 0.0, 0.0]))
    matrix = R.axis_angle_to_matrix(torch.tensor([0.4, 0.0, 0.0]))
    torch.testing.assert_close(R.matrix_to_quaternion(matrix), quaternion)


@pytest.mark.parametrize('angle', ANGLES)
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_round_trips(angle, dtype, tolerance):
    vectors = random_axis_angle(200, angle, dtype)
    matrices = R.axis_angle_to_matrix(vectors)
    identity = torch.eye(3, dtype=dtype).expand_as(matrices)
    torch.testing.assert_close(matrices @ matrices.mT, identity, rtol=0, atol=tolerance)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(200, dtype=dtype), rtol=0, atol=1e-5)

    back = R.matrix_to_axis_angle(matrices)
    # Beyond pi (by rounding) the opposite axis is as good: compare the rotations, and the vectors before it.
    torch.testing.assert_close(R.axis_angle_to_matrix(back), matrices, rtol=0, atol=tolerance * 2)
    if angle < math.pi - 1e-6:
        torch.testing.assert_close(back, vectors, rtol=0, atol=tolerance * 2)

    quaternions = R.matrix_to_quaternion(matrices)
    assert (quaternions[:, 0] >= 0).all()
    torch.testing.assert_close(quaternions.norm(dim=-1), torch.ones(200, dtype=dtype))
    torch.testing.assert_close(R.quaternion_to_axis_angle(-3 * quaternions), back, rtol=0, atol=tolerance * 2)
    for layout in R.LAYOUTS_6D:
        six = columns_of(matrices, layout)
        torch.testing.assert_close(R.rotation_6d_to_matrix(six, layout), matrices, rtol=0, atol=tolerance)


@pytest.mark.parametrize('diagonal', [(1, -1, -1), (-1, 1, -1), (-1, -1, 1), (1, 1, 1)])
def test_exact_half_turns_and_identity(diagonal):
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float32))
    vector = R.matrix_to_axis_angle(matrix)
    expected = torch.tensor(diagonal).clamp(min=0) * (math.pi if -1 in diagonal else 0.0)
    torch.testing.assert_close(vector.abs(), expected.float())


def test_small_angles_keep_their_relative_precision():
    vectors = random_axis_angle(50, 1e-6, torch.float32)
    torch.testing.assert_close(
        R.matrix_to_axis_angle(R.axis_angle_to_matrix(vectors)), vectors, rtol=1e-5, atol=0
    )


def test_angles_beyond_half_a_turn_are_the_same_rotation():
    vectors = random_axis_angle(50, 5.0)
    expected = vectors / 5.0 * (5.0 - 2 * math.pi)
    torch.testing.assert_close(R.matrix_to_axis_angle(R.axis_angle_to_matrix(vectors)), expected)


def test_6d_needs_no_orthonormal_columns_and_ignores_their_length():
    six = torch.randn(30, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrix = R.rotation_6d_to_matrix(six)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64).expand(30, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(30, dtype=torch.float64))
    scaled = six * torch.tensor([2.0, 2, 2, 5, 5, 5], dtype=torch.float64)
    torch.testing.assert_close(R.rotation_6d_to_matrix(scaled), matrix)
    swapped = six.unflatten(-1, (2, 3)).mT.flatten(-2)
    torch.testing.assert_close(R.rotation_6d_to_matrix(swapped, 'interleaved'), matrix)


@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-3, 0.011, 1.0, 3.1])
def test_gradients(angle):
    vector = random_axis_angle(3, angle).requires_grad_()
    assert torch.autograd.gradcheck(R.axis_angle_to_matrix, vector)
    quaternion = R.matrix_to_quaternion(R.axis_angle_to_matrix(vector)).detach().requires_grad_()
    assert torch.autograd.gradcheck(R.quaternion_to_axis_angle, quaternion)
    # On the manifold: there and back has the identity as its derivative.
    there_and_back = torch.autograd.functional.jacobian(
        lambda x: R.matrix_to_axis_angle(R.axis_angle_to_matrix(x)), vector.detach()[0]
    )
    torch.testing.assert_close(there_and_back, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-6)
    six = columns_of(R.axis_angle_to_matrix(vector)).detach().requires_grad_()
    assert torch.autograd.gradcheck(R.rotation_6d_to_matrix, six)


def test_gradients_are_finite_in_float32_at_zero_and_at_half_a_turn():
    vector = torch.tensor([[0.0, 0.0, 0.0], [0.0, math.pi, 0.0], [1e-20, 0.0, 0.0]], requires_grad=True)
    R.matrix_to_axis_angle(R.axis_angle_to_matrix(vector)).sum().backward()
    assert torch.isfinite(vector.grad).all()


def test_leading_shapes_and_autocast():
    vector = random_axis_angle(24, 1.2, torch.float32).reshape(2, 3, 4, 3)
    assert R.axis_angle_to_matrix(vector).shape == (2, 3, 4, 3, 3)
    assert R.axis_angle_to_matrix(vector[:0]).shape == (0, 3, 4, 3, 3)
    assert R.matrix_to_axis_angle(R.axis_angle_to_matrix(vector[0, 0, 0])).shape == (3,)
    with torch.autocast('cpu', torch.bfloat16):
        low = R.axis_angle_to_matrix(vector)
    torch.testing.assert_close(low, R.axis_angle_to_matrix(vector), rtol=0, atol=0)


def test_unknown_layout_is_refused():
    with pytest.raises(ValueError, match=r"layout='rows'.*contiguous"):
        R.rotation_6d_to_matrix(torch.zeros(1, 6), layout='rows')
