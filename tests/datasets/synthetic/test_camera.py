import numpy as np

from mmhier.datasets.synthetic.camera import SUPERSAMPLING, sample_camera
from mmhier.rasterizer import project


def test_cameras_are_rigid_and_see_the_main_person():
    for seed in range(50):
        camera, distance = sample_camera(np.random.default_rng(seed), (120, 160))
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.rotation) > 0
        assert camera.position[1] >= 0.25
        assert 1.2 <= distance < 20


def test_convention_rays_are_the_inverse_of_projection():
    camera, _ = sample_camera(np.random.default_rng(1), (30, 40))
    rays = camera.rays()
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0, atol=1e-6)
    points = camera.position + 2.5 * rays
    screen = project(camera.to_camera(points), camera.intrinsics)
    columns, rows = np.meshgrid(np.arange(40), np.arange(30))
    np.testing.assert_allclose(screen[..., 0], columns, atol=1e-3)
    np.testing.assert_allclose(screen[..., 1], rows, atol=1e-3)


def test_convention_fine_intrinsics_count_from_the_corner():
    camera, _ = sample_camera(np.random.default_rng(1), (30, 40))
    point = np.array([0.2, -0.1, 3.0])
    coarse = project(point, camera.intrinsics)[:2]
    np.testing.assert_allclose(project(point, camera.fine_intrinsics())[:2], SUPERSAMPLING * (coarse + 0.5))
