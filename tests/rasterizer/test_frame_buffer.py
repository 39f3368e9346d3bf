import subprocess
import sys

import numpy as np
import pytest

from mmhier.rasterizer import BACKGROUND, FrameBuffer, project, vertex_normals


def triangle(depth, *corners):
    """A screen triangle at a constant depth."""
    return np.array([[*corner, depth] for corner in corners], np.float32)


# Counter-clockwise as seen: right angle at the top left pixel, legs of 4 pixels.
CORNERS = [(0, 0), (0, 4), (4, 0)]
FACE = np.array([[0, 1, 2]])


def test_convention_pixel_centres_and_facing():
    buffer = FrameBuffer((5, 5))
    buffer.draw(triangle(2.0, *CORNERS), FACE, 7)
    # Centres (c + .5, r + .5) with c + r + 1 <= 4 lie inside or on the diagonal.
    expected = np.array([[7 if c + r <= 3 else BACKGROUND for c in range(5)] for r in range(5)])
    np.testing.assert_array_equal(buffer.objects.reshape(5, 5), expected)
    np.testing.assert_allclose(buffer.inverse_depth.reshape(5, 5)[expected == 7], 0.5)


def test_back_faces_are_not_drawn():
    buffer = FrameBuffer((5, 5))
    buffer.draw(triangle(2.0, *CORNERS), FACE[:, ::-1], 0)
    assert (buffer.objects == BACKGROUND).all()


@pytest.mark.parametrize('near_first', [True, False])
def test_the_nearer_surface_wins_in_any_order(near_first):
    buffer = FrameBuffer((4, 4))
    layers = [(1.0, 1), (3.0, 2)] if near_first else [(3.0, 2), (1.0, 1)]
    for depth, number in layers:
        corners = [(0, 0), (0, 9), (9, 0)] if number == 2 else CORNERS
        buffer.draw(triangle(depth, *corners), FACE, number)
    objects = buffer.objects.reshape(4, 4)
    assert objects[0, 0] == 1
    assert objects[3, 3] == 2
    assert (objects == 1).sum() == 10


def test_interpenetrating_triangles_cut_along_equal_depth():
    buffer = FrameBuffer((1, 8))
    ramp = np.array([[0, -20, 1.0], [0, 20, 1.0], [8, 0, 3.0]], np.float32)
    flat = triangle(1.5, (-20, -20), (-20, 20), (28, 0))
    buffer.draw(flat, FACE, 0)
    buffer.draw(ramp, FACE, 1)
    # On the middle row the ramp's inverse depth falls linearly from 1 to 1/3 over 8 pixels: 2/3 at x = 4.
    assert buffer.objects.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_interpolation_is_perspective_correct():
    # A strip from depth 1 to depth 3, seen edge to edge over 10 pixels.
    points = np.array([[0, -50, 1.0], [0, 50, 1.0], [10, 50, 3.0], [10, -50, 3.0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    buffer = FrameBuffer((1, 10))
    buffer.draw(points, faces, 0)
    surface = buffer.gather(0)
    value = surface.interpolate(faces, np.array([[0.0], [0.0], [1.0], [1.0]], np.float32))[:, 0]
    share = (np.arange(10) + 0.5) / 10  # position on the screen
    expected = share / 3 / ((1 - share) + share / 3)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_nothing_is_drawn_twice_or_left_out_along_shared_edges():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(-1, 41, 9), np.linspace(-1, 31, 9)), axis=-1)
    grid[1:-1, 1:-1] += rng.normal(0, 1.0, (7, 7, 2))
    points = np.concatenate([grid.reshape(-1, 2), np.full((81, 1), 2.0)], axis=1)
    faces = []
    for r in range(8):
        for c in range(8):
            a = r * 9 + c
            faces += [[a, a + 9, a + 10], [a, a + 10, a + 1]]
    buffer = FrameBuffer((30, 40))
    buffer.draw(points, np.array(faces), 0)
    assert (buffer.objects == 0).all()
    np.testing.assert_allclose(buffer.inverse_depth, 0.5, rtol=1e-5)


def test_chunks_do_not_change_the_picture(monkeypatch):
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.uniform(-5, 45, (60, 2)), rng.uniform(1, 3, (60, 1))], axis=1)
    faces = rng.permutation(60).reshape(20, 3)
    whole, parts = FrameBuffer((40, 40)), FrameBuffer((40, 40))
    whole.draw(points, faces, 0)
    monkeypatch.setattr('mmhier.rasterizer.frame_buffer.CHUNK', 500)
    parts.draw(points, faces, 0)
    assert (whole.objects == 0).any()
    np.testing.assert_array_equal(whole.faces, parts.faces)
    np.testing.assert_array_equal(whole.inverse_depth, parts.inverse_depth)


def test_triangles_behind_the_camera_are_dropped():
    buffer = FrameBuffer((5, 5))
    buffer.draw(triangle(-2.0, *CORNERS), FACE, 0)
    buffer.draw(np.array([[0, 0, 1.0], [0, 4, -1.0], [4, 0, 1.0]]), FACE, 0)
    assert (buffer.objects == BACKGROUND).all()


def test_projection():
    intrinsics = np.array([[100.0, 0, 50], [0, 200, 40], [0, 0, 1]])
    np.testing.assert_allclose(project(np.array([1.0, -0.5, 2.0]), intrinsics), [100, -10, 2])


def test_normals_of_a_cube_point_outwards():
    from mmhier.datasets.synthetic.props import make_box

    box = make_box(np.zeros(3), np.ones(3), 0.0, np.zeros((3, 3)))
    normals = vertex_normals(box.vertices.astype(np.float32), box.faces)
    assert (np.einsum('ij,ij->i', normals, box.vertices) > 0.7).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)


def test_the_room_stands_on_numpy_alone():
    program = 'import sys, mmhier.rasterizer; print(*sys.modules)'
    loaded = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert 'mmhier.rasterizer.frame_buffer' in loaded and 'numpy' in loaded
    above = ('torch', 'cv2', 'mmengine', 'mmpose', 'mmhier.datasets', 'mmhier.visualization')
    assert not set(above) & set(loaded)
