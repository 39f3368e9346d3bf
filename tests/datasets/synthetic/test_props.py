import numpy as np
import pytest

from mmhier.datasets.synthetic.props import make_box, make_cylinder, make_seat, sample_prop


def props():
    rng = np.random.default_rng(0)
    colours = np.zeros((3, 3))
    yield 'box', make_box(np.array([1.0, 2, 3]), np.array([1.0, 2, 3]), 0.4, colours), 6.0
    sides = 16
    area = 0.5 * sides * np.sin(2 * np.pi / sides) * 0.5**2
    yield 'cylinder', make_cylinder(np.array([0.0, 1, 0]), 0.5, 2.0, colours, sides), area * 2.0
    for index in range(8):
        yield f'random {index}', sample_prop(rng, np.zeros(3), 0.8), None


@pytest.mark.parametrize(('name', 'prop', 'volume'), props(), ids=lambda v: v if isinstance(v, str) else '')
def test_is_closed_and_turned_outwards(name, prop, volume):
    edges = np.concatenate([prop.faces[:, [0, 1]], prop.faces[:, [1, 2]], prop.faces[:, [2, 0]]])
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges)
    assert all((b, a) in directed for a, b in directed)
    points = prop.vertices - prop.vertices.mean(axis=0)
    a, b, c = (points[prop.faces[:, i]] for i in range(3))
    found = np.einsum('ij,ij->i', a, np.cross(b, c)).sum() / 6
    assert found > 0
    if volume is not None:
        np.testing.assert_allclose(found, volume)
    flat = np.cross(b - a, c - a)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    assert np.einsum('ij,ij->i', flat, prop.normals).min() > 0.95


def test_seat_ends_below_the_pelvis():
    seat = make_seat(np.random.default_rng(0), np.array([1.0, 0.6, 2.0]), np.array([2.0, 0.6, 3.0]))
    assert seat.vertices[:, 1].min() == pytest.approx(0.0)
    assert 0.4 < seat.vertices[:, 1].max() < 0.6
