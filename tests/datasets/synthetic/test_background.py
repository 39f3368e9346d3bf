import numpy as np
import pytest

from mmhier.datasets.synthetic.background import render_background, value_noise
from mmhier.datasets.synthetic.camera import Camera


def test_noise_tiles_without_a_seam():
    noise = value_noise(np.random.default_rng(0))
    assert noise.min() == 0
    assert noise.max() == 1
    inner = np.abs(np.diff(noise, axis=0)).max()
    assert np.abs(noise[0] - noise[-1]).max() <= 1.5 * inner


@pytest.mark.parametrize('pitch', [-0.3, 0.0, 0.7])
def test_any_view_is_filled(pitch):
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    intrinsics = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])
    camera = Camera(tilt @ np.diag([-1.0, -1, 1]), np.array([0, 1.5, 0]), intrinsics, (48, 64))
    for seed in range(20):
        image = render_background(np.random.default_rng(seed), camera.rays(), 1.5, 3.0)
        assert image.shape == (48, 64, 3)
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.std() > 0.005
