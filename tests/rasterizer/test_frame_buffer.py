import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmhier.rasterizer import BACKGROUND, NEAR, FrameBuffer, native, project, vertex_normals


@pytest.fixture(autouse=True, params=['c++', 'numpy'])
def loops(request, monkeypatch):
    """Every test of this file holds for both."""
    if request.param == 'numpy':
        monkeypatch.setattr(native, 'library', lambda: None)
    elif native.library() is None:
        pytest.skip('no compiler')


def triangle(depth, *corners):
    """A screen triangle at a constant depth."""
    return np.array([[*corner, depth] for corner in corners], np.float32)


ROOT = Path(__file__).resolve().parents[2]

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


def soup(seed, count, span=50.0):
    """Triangles of every size, some behind the camera, some out of the image, in a mesh."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform(-10, span, (count, 2)), rng.uniform(-0.5, 3, (count, 1))], axis=1)
    return points.astype(np.float32), rng.permutation(3 * count).reshape(count, 3) % count


def test_pictures_are_those_of_the_textbook():
    """Coverage is the same wherever a centre is further than a thousandth of a pixel from every edge."""
    reference = runpy.run_path(str(ROOT / 'tests' / 'reference' / 'rasterizer.py'))['rasterize']
    for seed in range(4):
        screen, faces = soup(seed, 40, 26.0)
        expected, distance = reference(screen, faces, (17, 23), NEAR)
        buffer = FrameBuffer((17, 23))
        buffer.draw(screen, faces, 0)
        drawn = buffer.inverse_depth.reshape(17, 23)
        sure = distance > 1e-3
        assert sure.mean() > 0.9 and 0.1 < (expected > 0).mean() < 0.95
        np.testing.assert_array_equal((drawn > 0)[sure], (expected > 0)[sure])
        # float32 has seven digits; weights of slivers lose two of them
        np.testing.assert_allclose(drawn[sure], expected[sure], rtol=1e-4)


def test_colours_are_averaged_over_squares_of_samples():
    points, faces = soup(5, 30)
    colours = np.random.default_rng(6).uniform(0, 255, (2, 30, 3)).astype(np.float32)
    buffer = FrameBuffer((42, 36))
    buffer.draw(points, faces, 0)
    buffer.draw(points + np.float32([3, -4, 0.2]), faces, 1)
    samples = np.zeros((42 * 36, 3))
    for number in (0, 1):
        surface = buffer.gather(number)
        assert len(surface.pixels) > 50
        samples[surface.pixels] = surface.interpolate(faces, colours[number])
    mixed, cover = buffer.average(faces, colours, 3)
    np.testing.assert_allclose(mixed, samples.reshape(14, 3, 12, 3, 3).mean(axis=(1, 3)), atol=1e-3)
    shares = (buffer.objects >= 0).reshape(14, 3, 12, 3).mean(axis=(1, 3))
    assert 0 < shares.mean() < 1
    np.testing.assert_allclose(cover, shares, atol=1e-6)


def test_faces_of_another_mesh_are_refused():
    points, faces = soup(0, 10)
    with pytest.raises(ValueError, match='faces name vertices 1 to 10, but the mesh has 10'):
        FrameBuffer((9, 9)).draw(points, faces + 1, 0)


def test_vertices_that_are_no_numbers_leave_numbers():
    buffer = FrameBuffer((5, 5))
    for axis in range(3):
        for value in (np.nan, np.inf, -np.inf):
            broken = triangle(2.0, *CORNERS)
            broken[1, axis] = value
            with np.errstate(invalid='ignore'):
                buffer.draw(broken, FACE, 0)
    assert np.isfinite(buffer.inverse_depth).all()


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
    above = ('torch', 'cv2', 'mmengine', 'mmpose', 'mmhier.datasets.synthetic', 'mmhier.visualization')
    assert not set(above) & set(loaded)
