"""Colours of crops."""

import numpy as np
import pytest

from mmhier.datasets.transforms.mesh_colour import RandomChannelScale, scale_channels


def test_channels_are_scaled_and_cut_off():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    factors = np.array([0.8, 1.0, 1.2])
    expected = (image.astype(np.float32) * factors.astype(np.float32)).clip(0, 255)
    exact = scale_channels(image, factors)
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, expected, atol=1e-4)
    rounded = scale_channels(image, factors, rounded=True)
    assert rounded.dtype == np.uint8
    assert np.abs(rounded - expected).max() <= 0.5 + 1e-4


def test_factors_are_random_per_channel():
    image = np.full((2, 2, 3), 100, np.uint8)
    made = np.array([
        RandomChannelScale().transform(dict(img=image, rng=np.random.default_rng(seed)))['img'][0, 0]
        for seed in range(500)
    ])  # fmt: skip
    assert made.min() >= 80
    assert made.max() <= 120
    np.testing.assert_allclose(made.mean(0), 100, atol=2)
    assert np.abs(np.corrcoef(made.T)[0, 1]) < 0.2
    assert made.std() == pytest.approx(40 / np.sqrt(12), rel=0.1)
