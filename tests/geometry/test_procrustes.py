"""Similarity alignment: recovered transforms, optimality, and the clouds on which formulas break."""

import math

import pytest
import torch

from mmhier.geometry.procrustes import procrustes_align, similarity_transform
from mmhier.geometry.rotations import axis_angle_to_matrix


def cloud(*shape):
    return torch.randn(*shape, 3, dtype=torch.float64)


def random_similarity(batch):
    scale = torch.rand(batch, dtype=torch.float64) * 3 + 0.1
    return scale, axis_angle_to_matrix(cloud(batch) * 2), cloud(batch) * 5


def moved(points, scale, rotation, translation):
    return scale[:, None, None] * points @ rotation.mT + translation[:, None]


def squared_error(a, b):
    return (a - b).square().sum((-2, -1))


def test_convention_asymmetric_angle():
    """Turned by 30 degrees about z: x goes towards y."""
    source = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], dtype=torch.float64)
    cosine, sine = math.cos(math.radians(30)), math.sin(math.radians(30))
    rotation = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=torch.float64)
    target = 2 * source @ rotation.t() + torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = similarity_transform(source, target)
    assert torch.allclose(found.rotation, rotation) and found.scale.item() == pytest.approx(2)
    assert found.translation.tolist() == pytest.approx([1, 2, 3])
    assert found.apply(source)[1].tolist() == pytest.approx([1 + 2 * cosine, 2 + 2 * sine, 3])


def test_a_similarity_is_recovered():
    source, (scale, rotation, translation) = cloud(50, 14), random_similarity(50)
    target = moved(source, scale, rotation, translation)
    found = similarity_transform(source, target)
    assert torch.allclose(found.scale, scale) and torch.allclose(found.rotation, rotation)
    assert torch.allclose(found.translation, translation)
    assert torch.allclose(found.apply(source), target)
    rigid = similarity_transform(
        source, moved(source, torch.ones_like(scale), rotation, translation), None, False
    )
    assert torch.allclose(rigid.rotation, rotation) and (rigid.scale == 1).all()


def test_nothing_nearby_is_better():
    source, target = cloud(1, 9), cloud(1, 9)
    best = similarity_transform(source, target)
    error = squared_error(best.apply(source), target)
    for _ in range(100):
        rotation = axis_angle_to_matrix(0.05 * cloud(1)) @ best.rotation
        scale = best.scale * (1 + 0.05 * torch.randn(1, dtype=torch.float64))
        other = moved(source, scale, rotation, best.translation + 0.05 * cloud(1))
        assert squared_error(other, target) > error


def test_a_mirror_image_is_turned_not_mirrored():
    source = cloud(20, 10)
    target = source * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    found = similarity_transform(source, target)
    assert torch.allclose(torch.linalg.det(found.rotation), torch.ones(20, dtype=torch.float64))
    assert (squared_error(found.apply(source), target) > 0.1).all()


def test_batch_is_a_loop_of_singles():
    source, target = cloud(4, 3, 8), cloud(4, 3, 8)
    target[1, 1] = 2.0
    source[2, 0] = float('nan')
    together = procrustes_align(source, target)
    singles = [[procrustes_align(source[i, j], target[i, j]) for j in range(3)] for i in range(4)]
    singles = torch.stack([torch.stack(row) for row in singles])
    assert torch.allclose(together, singles, atol=1e-12, equal_nan=True)
    assert together.isnan().flatten(2).all(-1).sum() == 1


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('place', [0.0, 3.7])
def test_source_without_extent_is_moved_only(dtype, place):
    point = torch.full((5, 3), place, dtype=dtype)
    point[0] *= 1 + torch.finfo(dtype).eps  # rounding is no extent
    target = cloud(5).to(dtype)
    found = similarity_transform(point, target)
    assert found.scale == 1 and torch.equal(found.rotation, torch.eye(3, dtype=torch.float64))
    assert torch.allclose(found.apply(point).mean(0), target.double().mean(0), atol=1e-6)
    assert similarity_transform(point, point.flip(0)).apply(point).isfinite().all()


def test_target_without_extent_takes_all_points():
    source, target = cloud(6), torch.ones(6, 3, dtype=torch.float64) * 0.3
    found = similarity_transform(source, target)
    assert found.scale == 0 and torch.allclose(found.apply(source), target)


def test_single_point():
    found = procrustes_align(cloud(2, 1), target := cloud(2, 1))
    assert torch.allclose(found, target)


@pytest.mark.parametrize('rank', [1, 2])
def test_flat_and_straight_clouds(rank):
    basis = cloud(30, rank)
    source = torch.randn(30, 12, rank, dtype=torch.float64) @ basis
    scale, rotation, translation = random_similarity(30)
    target = moved(source, scale, rotation, translation)
    found = similarity_transform(source, target)
    assert torch.allclose(found.apply(source), target, atol=1e-9)
    assert torch.allclose(torch.linalg.det(found.rotation), torch.ones(30, dtype=torch.float64))


@pytest.mark.parametrize('size', [1e-30, 1e-3, 1e6, 1e30])
def test_any_unit(size):
    source, target = cloud(3, 7), cloud(3, 7)
    expected = procrustes_align(source, target) * size
    assert torch.allclose(procrustes_align(source * size, target * size), expected, rtol=1e-9, atol=0)
    assert torch.allclose(procrustes_align(source * size, target), expected / size, rtol=1e-9, atol=0)


def test_weights():
    source, target = cloud(2, 6), cloud(2, 6)
    weights = torch.tensor([[1.0, 2, 1, 0, 1, 3], [0, 1, 1, 1, 1, 0]])
    repeated = torch.tensor([0, 1, 1, 2, 4, 5, 5, 5])
    found = similarity_transform(source, target, weights)
    expected = similarity_transform(source[0][repeated], target[0][repeated])
    assert torch.allclose(found.rotation[0], expected.rotation) and torch.allclose(
        found.translation[0], expected.translation
    )
    garbage = source.clone()
    garbage[weights == 0] = float('nan')
    other = similarity_transform(garbage, target, weights > 0)
    assert torch.equal(other.scale, similarity_transform(source, target, weights > 0).scale)


def test_nothing_to_align_is_nan():
    weights = torch.tensor([[1.0] * 4, [0.0] * 4])
    found = similarity_transform(cloud(2, 4), cloud(2, 4), weights)
    assert found.scale[0].isfinite() and all(part[1].isnan().all() for part in found)


@pytest.mark.parametrize(
    ('source', 'target', 'weights', 'message'),
    [
        ((4, 3), (5, 3), None, r'\(4, 3\) and \(5, 3\)'),
        ((4, 2), (4, 2), None, r'\.\.\., N, 3'),
        ((0, 3), (0, 3), None, 'N >= 1'),
        ((4, 3), (4, 3), (3,), r'shape \(4,\)'),
    ],
)
def test_bad_input_is_named(source, target, weights, message):
    with pytest.raises(ValueError, match=message):
        similarity_transform(
            torch.zeros(source), torch.zeros(target), None if weights is None else torch.ones(weights)
        )


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match='not be negative'):
        similarity_transform(cloud(3), cloud(3), torch.tensor([1.0, -1.0, 1.0]))
