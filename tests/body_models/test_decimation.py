import numpy as np

from mmhier.body_models.decimation import decimate


def sphere(n=24):
    """A closed triangulated sphere of 2 + n * (n - 1) vertices."""
    angle, height = np.linspace(0, 2 * np.pi, n, endpoint=False), np.linspace(0, np.pi, n + 1)[1:-1]
    ring = [[np.sin(h) * np.cos(a), np.cos(h), np.sin(h) * np.sin(a)] for h in height for a in angle]
    points = np.array([[0, 1, 0], *ring, [0, -1, 0]])
    faces = [[0, 1 + (i + 1) % n, 1 + i] for i in range(n)]
    for r in range(n - 2):
        for i in range(n):
            a, b = 1 + r * n + i, 1 + r * n + (i + 1) % n
            faces += [[a, b, a + n], [b, b + n, a + n]]
    last = len(points) - 1
    faces += [[last, last - n + i, last - n + (i + 1) % n] for i in range(n)]
    return points, np.array(faces)


def volume(points, faces):
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    return np.einsum('ij,ij->i', a, np.cross(b, c)).sum() / 6


def test_a_closed_surface_stays_closed_and_keeps_its_shape():
    points, faces = sphere()
    kept, smaller = decimate(points, faces, 200)
    assert len(kept) == 200
    edges = np.sort(np.concatenate([smaller[:, [0, 1]], smaller[:, [1, 2]], smaller[:, [2, 0]]]), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 2).all()
    assert len(smaller) == 2 * 200 - 4  # Euler
    before, after = volume(points, faces), volume(points[kept], smaller)
    assert abs(after / before - 1) < 0.08


def test_is_deterministic():
    points, faces = sphere(12)
    first, second = decimate(points, faces, 60), decimate(points, faces, 60)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
