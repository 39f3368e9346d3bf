"""Meshes appear where the camera sees them, the nearer over the farther, and nothing else is touched."""

import cv2
import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.skinning import pose_body
from mmhier.datasets.synthetic.rendering import draw_scene
from mmhier.datasets.synthetic.scene import SCENE_STYLES, sample_scene
from mmhier.geometry.cameras import perspective_projection
from mmhier.visualization.mesh_renderer import draw_layer, mesh_panel, render_people, side_view

HW, FOCAL, CENTER = (60, 80), 100.0, (40.0, 30.0)
RED, GREEN = (40, 40, 250), (40, 250, 40)
LEFT_WRIST, RIGHT_WRIST = (joint_set('smpl24').names.index(f'{side}_wrist') for side in ('left', 'right'))

# A cube of 1 m; outward faces counter-clockwise in a right-handed frame.
CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
CUBE_FACES = np.array([face for a, b, c, d in QUADS for face in ((a, b, c), (a, c, d))])


def cube(x, y, z, size=1.0):
    return CUBE * size + [x, y, z]


def show(*people, image=None, **options):
    options = dict(image_hw=HW, **options) if image is None else options
    return render_people(image, np.stack(people), CUBE_FACES, FOCAL, CENTER, **options)


def cover(*people, hw=HW, center=CENTER, faces=CUBE_FACES, focal=FOCAL, **options):
    """Coverage of the whole image."""
    layer = draw_layer(np.stack(people), faces, focal, center, hw, **options)
    whole = np.zeros(hw, np.float32)
    (left, top), (height, width) = layer.corner, layer.coverage.shape
    whole[top : top + height, left : left + width] = layer.coverage
    return whole


def hue(pixel):
    """The strongest of blue, green and red; None where nothing was drawn on white."""
    return None if min(pixel) == 255 else 'BGR'[int(np.argmax(pixel))]


@pytest.fixture(scope='module')
def posed(kit):
    """A body facing the camera with the left arm up and the right one down: vertices, joints."""
    pose = np.zeros((24, 3))
    pose[0, 0] = np.pi
    shoulders = [joint_set('smpl24').names.index(f'{side}_shoulder') for side in ('left', 'right')]
    pose[shoulders, 2] = np.radians(60)
    body = pose_body(kit.model, pose, transl=np.array([0.1, 0.05, 4.0]))
    return body.vertices, body.joints


@pytest.fixture(scope='module')
def noise():
    return np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)


def test_a_cube_covers_the_pixels_that_its_front_projects_to():
    covered = cover(cube(0.2, -0.1, 4.5))
    # Front face at z = 4: x from -0.3 to 0.7, y from -0.6 to 0.4, at 25 pixels a metre.
    expected = np.zeros(HW)
    expected[15:40, 33:57] = 1.0
    expected[15:40, 32], expected[15:40, 57] = 0.5, 0.5
    np.testing.assert_allclose(covered, expected, atol=0.17)
    assert covered.sum() == pytest.approx(expected.sum(), rel=0.02)


def test_convention_left_arm_up_in_front_of_the_camera(kit, posed):
    vertices, joints = posed
    focal, center = (210.0, 190.0), (150.0, 90.0)
    covered = cover(vertices, hw=(200, 260), center=center, faces=kit.model.faces, focal=focal)
    for wrist, at_the_right, at_the_top in ((LEFT_WRIST, True, True), (RIGHT_WRIST, False, False)):
        x, y, z = joints[wrist]
        column, row = 210 * x / z + 150, 190 * y / z + 90
        assert (column > 160) == at_the_right and (row < 70) == at_the_top
        assert covered[int(row), int(column)] > 0.99
        middle = 210 * 0.1 / 4 + 150
        assert covered[int(row), int(2 * middle - column)] == 0, 'the arms are not mirror images'


def test_convention_side_view_is_seen_from_the_right(kit, posed):
    """Who faces the camera looks left; the arm at the picture's right is nearer and hides the other."""
    near, far = cube(0.0, 0.0, 3.0), cube(0.0, 0.0, 6.0)
    picture = side_view(np.stack([near, far]), CUBE_FACES, FOCAL, HW, colours=[RED, GREEN])
    assert hue(picture[30, 10]) == 'R' and hue(picture[30, 69]) == 'G' and hue(picture[30, 40]) is None
    right, left = cube(1.5, 0.0, 3.0), cube(-1.5, 0.0, 3.0)
    picture = side_view(np.stack([right, left]), CUBE_FACES, FOCAL, HW, colours=[RED, GREEN])
    assert hue(picture[30, 40]) == 'R'
    upside = side_view(np.stack([cube(0, -2, 3), cube(0, 2, 3)]), CUBE_FACES, FOCAL, HW, colours=[RED, GREEN])
    assert hue(upside[8, 40]) == 'R' and hue(upside[52, 40]) == 'G'
    drawn = (side_view(posed[0][None], kit.model.faces, 200.0, (300, 300)) < 255).any(axis=2)
    rows = np.flatnonzero(drawn.any(axis=1))
    toes, shins = drawn[rows.max() - 8 : rows.max()], drawn[rows.max() - 50 : rows.max() - 25]
    front, back = (np.flatnonzero(part.any(axis=0))[[0, -1]] for part in (toes, shins))
    assert front[0] < back[0] - 10 and abs(front[1] - back[1]) < 6


def test_side_view_shows_all_of_everyone(kit, posed):
    crowd = np.stack([posed[0] + shift for shift in ((0, 0, 0), (3, 1, 5), (-9, 0, -3.9))])
    for faces, people, focal in ((kit.model.faces, crowd, 300.0), (kit.model.faces, crowd[:1], 20000.0)):
        drawn = (side_view(people, faces, focal, (240, 180)) < 255).any(axis=2)
        rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
        assert rows.min() >= 11 and rows.max() <= 228 and columns.min() >= 8 and columns.max() <= 171
        filled = max(np.ptp(rows) / 240, np.ptp(columns) / 180)
        assert 0.6 < filled <= 0.91


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_the_nearer_person_hides_the_farther_in_any_order(order):
    people, colours = [cube(0, 0, 5), cube(0.4, 0, 7)], [RED, GREEN]
    picture = show(*(people[i] for i in order), colours=[colours[i] for i in order])
    # Front faces: red columns 29 to 51 (z 4.5), green 38.5 to 53.8 (z 6.5).
    assert hue(picture[30, 35]) == 'R' and hue(picture[30, 48]) == 'R' and hue(picture[30, 52]) == 'G'


def test_people_who_interpenetrate_are_cut_where_they_meet():
    """The diagonal of a tilted board crosses a level one: each is in front on its own half."""
    board = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    faces = np.array([[0, 3, 2], [0, 2, 1]])
    tilted = board.copy()
    tilted[:, 2] = board[:, 0]
    people = np.stack([board + [0, 0, 5], tilted + [0, 0, 5]])
    picture = render_people(None, people, faces, FOCAL, CENTER, [RED, GREEN], image_hw=HW)
    assert all(hue(picture[30, column]) == 'G' for column in range(22, 39))
    assert all(hue(picture[30, column]) == 'R' for column in range(41, 59))


def test_silhouettes_are_those_of_the_synthetic_people(kit):
    """Masks of the generator, which the annotations are made of, from people of every pose and camera."""
    style = SCENE_STYLES['varied']._replace(occluder_chance=0.0)
    compared = 0
    for seed in range(12):
        scene = sample_scene(np.random.default_rng(seed), kit, (96, 128), style)
        scene = scene._replace(props=[])
        buffer = draw_scene(scene, kit)
        fine = (buffer.objects >= 0).astype(np.float32).reshape(buffer.image_hw)
        expected = cv2.resize(fine, (128, 96), interpolation=cv2.INTER_AREA)
        people = np.stack([scene.camera.to_camera(person.vertices) for person in scene.people])
        k = scene.camera.intrinsics
        options = dict(hw=(96, 128), center=k[:2, 2] + 0.5, faces=kit.faces, focal=(k[0, 0], k[1, 1]))
        # As many samples as the generator takes.
        covered = cover(*people, supersampling=2, **options)
        assert (np.abs(covered - expected) > 0).sum() <= 2, 'rounding may move a sample on an edge'
        compared += expected.sum() > 100
    assert compared >= 10


def test_joints_lie_inside_the_silhouette(kit, posed):
    """Through the project's own projection, which the model is trained with."""
    vertices, joints = posed
    center = torch.tensor([70.0, 110.0])
    covered = cover(vertices, hw=(220, 160), center=center.numpy(), faces=kit.model.faces, focal=240.0)
    pixels = perspective_projection(torch.from_numpy(joints), focal_length=240.0, center=center)
    column, row = pixels.floor().int().T.numpy()
    assert len(joints) == 24
    assert (covered[row, column] == 1).all()


def test_silhouettes_agree_with_filled_triangles(kit, posed):
    """OpenCV's polygons are another rasteriser; body and gaps are the same to a pixel at the border."""
    vertices = posed[0]
    pixels = 400.0 * vertices[:, :2] / vertices[:, 2:] + [130.0, 150.0]
    mask = np.zeros((300, 280), np.uint8)
    for triangle in np.round((pixels[kit.model.faces] - 0.5) * 16).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1, shift=4)
    covered = cover(vertices, hw=mask.shape, center=(130.0, 150.0), faces=kit.model.faces, focal=400.0)
    cross = np.ones((3, 3), np.uint8)
    # OpenCV also fills the gaps between fingers, which are narrower than a pixel.
    assert (covered[cv2.erode(mask, cross, iterations=2) > 0] == 1).mean() > 0.998, 'no holes'
    assert (covered[cv2.dilate(mask, cross) == 0] == 0).all()


def test_mirrored_people_give_the_mirrored_silhouette(kit, posed):
    vertices, faces = posed[0], kit.model.faces
    plain = cover(vertices, hw=(150, 200), center=(80.0, 70.0), faces=faces, focal=150.0)
    # A mirror turns triangles inside out.
    mirrored = cover(
        vertices * [-1, 1, 1], hw=(150, 200), center=(120.0, 70.0), faces=faces[:, ::-1], focal=150.0
    )
    assert plain.sum() > 500
    assert np.abs(mirrored - plain[:, ::-1]).max() < 0.23, 'samples on an edge may fall to either side'
    assert (np.abs(mirrored - plain[:, ::-1]) > 0).mean() < 1e-3


def test_nothing_but_the_silhouette_is_touched(noise):
    person = cube(0.3, 0.2, 5.0)
    before = noise.copy()
    picture = show(person, image=noise)
    np.testing.assert_array_equal(noise, before)
    outside = cover(person) == 0
    assert 0.5 < outside.mean() < 0.95
    np.testing.assert_array_equal(picture[outside], noise[outside])
    assert (picture[~outside] != noise[~outside]).any(axis=1).mean() > 0.95


def test_opacity_mixes_the_finished_picture(noise):
    """People do not shine through each other, only the image through all of them."""
    people = cube(0, 0, 5), cube(0.4, 0, 7)
    full, half = show(*people, image=noise), show(*people, image=noise, alpha=0.5)
    mixed = (noise.astype(float) + full) / 2
    assert np.abs(half - mixed).max() <= 1
    np.testing.assert_array_equal(show(*people, image=noise, alpha=0.0), noise)


def test_edges_are_smooth():
    """A slanted edge takes many levels between person and background."""
    blade = np.array([[-0.5, -1.5, 5], [-0.4, 1.5, 5], [0.5, 1.5, 5]])
    covered = cover(blade, faces=np.array([[0, 1, 2]]))
    assert len(np.unique(covered.round(3))) >= 9
    area = 0.5 * 0.9 * 3.0 * 20**2
    assert covered.sum() == pytest.approx(area, rel=0.01)


def test_light_comes_from_the_upper_left_and_curves_are_smooth():
    """A ball: smooth normals hide its triangles, top left is brightest."""
    ball, faces = sphere(16)
    picture = render_people(
        None, ball[None] + [0, 0, 5], faces, FOCAL, CENTER, [(200, 200, 200)], image_hw=HW
    )
    grey = picture.mean(axis=2)
    spots = {name: grey[30 + dy, 40 + dx] for name, (dy, dx) in dict(a=(-8, -8), b=(-8, 8), c=(9, 9)).items()}
    assert spots['a'] > spots['b'] + 10 > spots['c'] + 20
    assert 0.75 * 200 < grey[30, 40] < 200, 'what faces the camera keeps its colour'
    inner = grey[22:39, 32:49]
    assert (cover(ball + [0, 0, 5], faces=faces)[20:41, 30:51] == 1).all(), 'no holes'
    assert np.abs(np.diff(inner, n=2, axis=1)).max() < 8, 'no facets'


def sphere(rings):
    """A ball of radius 1; outward faces counter-clockwise."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, 2 * rings), indexing='ij'
    )
    points = np.stack(
        [np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1
    )
    index = np.arange(points[..., 0].size).reshape(polar.shape)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, d, c), (a, c, b))])
    return points.reshape(-1, 3), faces


def test_bodies_are_blue_unless_asked():
    first, second = show(cube(-0.8, 0, 5), cube(0.8, 0, 5))[30, [24, 56]].astype(int)
    assert hue(first) == hue(second) == 'B' and np.abs(first - second).max() < 25, (
        'the light differs a little'
    )
    red, green = show(cube(-0.8, 0, 5), cube(0.8, 0, 5), colours=[RED, GREEN])[30, [24, 56]]
    assert hue(red) == 'R' and hue(green) == 'G'


def test_people_apart_are_drawn_as_they_are_together(kit, posed):
    """Each in a box of its own; boxes that overlap, also by way of a third, are drawn at once."""
    near, far, aside = posed[0], posed[0] + [0.3, 0, 1.0], posed[0] + [2.2, 0, 0.5]
    options = dict(faces=kit.model.faces, focal=120.0, center=(60.0, 60.0), image_hw=(120, 240))
    alone = [render_people(None, person[None], **options) for person in (near, far, aside)]
    assert all((picture != 255).any() for picture in alone)
    picture = render_people(None, np.stack([aside, near, far]), **options)
    apart = (alone[2] != 255).any(axis=2)
    np.testing.assert_array_equal(picture[apart], alone[2][apart])
    together = render_people(None, np.stack([near, far]), **options)
    np.testing.assert_array_equal(picture[~apart], together[~apart])


@pytest.mark.parametrize('place', [(0, 0, -5), (0, 0, 0.01), (90, 0, 5), (0, -90, 5), (1e6, 1e6, 1e-3)])
def test_people_out_of_sight_leave_the_image_alone(noise, place):
    np.testing.assert_array_equal(show(cube(*place, size=0.1), image=noise), noise)


def test_the_part_before_the_camera_is_drawn():
    """A long board that begins behind the camera fills the lower half; nothing is mirrored to the top."""
    strip = np.array([[x, 0.5, z] for z in np.linspace(-3, 40, 200) for x in (-2.0, 2.0)])
    row = np.arange(199) * 2
    faces = np.concatenate([np.stack([row, row + 1, row + 3], 1), np.stack([row, row + 3, row + 2], 1)])
    covered = np.maximum(cover(strip, faces=faces), cover(strip, faces=faces[:, ::-1]))
    assert (covered[36:58, 36:44] == 1).all()
    assert (covered[:30] == 0).all()


def test_half_outside_is_cut_at_the_border():
    whole = cover(cube(0, 0, 5), hw=(60, 160), center=(120.0, 30.0))
    cut = cover(cube(0, 0, 5), hw=(60, 80), center=(80.0 + 40.0, 30.0))
    np.testing.assert_array_equal(cut, whole[:, :80])
    shifted = cover(cube(0, 0, 5), hw=(60, 80), center=(80.0, 30.0))
    np.testing.assert_array_equal(shifted, whole[:, 40:120])


def test_bands_join_without_a_seam(monkeypatch, kit, posed):
    from mmhier.visualization import mesh_renderer

    options = dict(faces=kit.model.faces, focal=200.0, center=(60.0, 50.0), image_hw=(120, 120))
    whole = render_people(None, posed[0][None], **options)
    monkeypatch.setattr(mesh_renderer, '_BAND_SAMPLES', 7 * 120 * 9)
    np.testing.assert_array_equal(render_people(None, posed[0][None], **options), whole)


def test_nobody(noise):
    nobody = np.zeros((0, 8, 3))
    np.testing.assert_array_equal(render_people(noise, nobody, CUBE_FACES, FOCAL, CENTER), noise)
    assert (side_view(nobody, CUBE_FACES, FOCAL, HW) == 255).all()


def test_panel_shows_image_overlay_and_side_view(noise):
    people = np.stack([cube(0, 0, 5)])
    panel = mesh_panel(noise, people, CUBE_FACES, FOCAL, CENTER, alpha=0.7)
    image, overlay, side = np.split(panel, 3, axis=1)
    np.testing.assert_array_equal(image, noise)
    np.testing.assert_array_equal(overlay, render_people(noise, people, CUBE_FACES, FOCAL, CENTER, alpha=0.7))
    np.testing.assert_array_equal(side, side_view(people, CUBE_FACES, FOCAL, HW))


def broken(person):
    people = np.stack([cube(0, 0, 5)] * 3)
    people[person, 4, 1] = np.nan
    return people


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(vertices=broken(1)), 'vertices of person 1 are not finite'),
        (dict(vertices=cube(0, 0, 5)), r'vertices are \(8, 3\)'),
        (dict(faces=CUBE_FACES + 1), 'vertices 1 to 8, but the mesh has 8'),
        (dict(faces=CUBE_FACES[0]), r'faces are \(3,\)'),
        (dict(focal=0.0), 'focal=0.0'),
        (dict(focal=float('nan')), 'focal=nan'),
        (dict(alpha=1.5), 'alpha=1.5'),
        (dict(colours=[RED, GREEN]), r'colours are \(2, 3\); expected \(1, 3\)'),
        (dict(image=np.zeros((4, 4), np.uint8)), r'image is uint8 \(4, 4\)'),
        (dict(image=np.zeros((4, 4, 3))), 'image is float64'),
        (dict(image=None), 'image_hw'),
        (dict(supersampling=0), 'supersampling=0'),
    ],
)
def test_bad_input_is_named(change, message):
    options = dict(
        image=np.zeros((*HW, 3), np.uint8),
        vertices=np.stack([cube(0, 0, 5)]),
        faces=CUBE_FACES,
        focal=FOCAL,
        center=CENTER,
    )
    with pytest.raises(ValueError, match=message):
        render_people(**{**options, **change})
