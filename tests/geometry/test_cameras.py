"""Cameras: the frames, round trips, and the crop against the full image."""

import pytest
import torch

from mmhier.geometry.cameras import (
    CROP_FOCAL_LENGTH,
    CROP_SIZE,
    crop_to_full_translation,
    full_focal_length,
    perspective_projection,
    translation_to_weak_perspective,
    weak_perspective_to_translation,
)

CAMERAS = torch.tensor([[0.9, 0.1, -0.2], [1.3, -0.4, 0.05], [0.35, 0.0, 0.6]], dtype=torch.float64)


def test_convention_axes():
    """Right in space is right in the image, down is down, farther is smaller."""
    points = torch.tensor([[0.3, 0.1, 5.0], [0.3, 0.1, 10.0]])
    found = perspective_projection(points, focal_length=100.0, center=torch.tensor([320.0, 240.0]))
    assert torch.allclose(found, torch.tensor([[326.0, 242.0], [323.0, 241.0]]))


def test_convention_crop_units():
    """A metre at the body's depth is s halves of the crop; the crop reaches from -0.5 to 0.5."""
    camera = torch.tensor([0.8, 0.25, -0.5], dtype=torch.float64)
    translation = weak_perspective_to_translation(camera)
    depth = 2 * CROP_FOCAL_LENGTH / (CROP_SIZE * 0.8)
    assert torch.allclose(translation, torch.tensor([0.25, -0.5, depth], dtype=torch.float64))
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    found = perspective_projection(points, translation)
    expected = torch.tensor([[0.8 * 0.25, -0.8 * 0.5], [0.8 * 1.25, -0.8 * 0.5]], dtype=torch.float64) / 2
    assert torch.allclose(found, expected, atol=1e-9)


def test_numbers_by_hand():
    translation = weak_perspective_to_translation(torch.tensor([0.9, 0.1, -0.2]))
    assert translation.tolist() == pytest.approx([0.1, -0.2, 43.402778], rel=1e-6)
    assert full_focal_length(torch.tensor([640.0, 480.0])).item() == pytest.approx(12500.0)


def test_round_trip():
    for focal in (5000.0, torch.tensor([500.0, 900.0, 1300.0], dtype=torch.float64)):
        translation = weak_perspective_to_translation(CAMERAS, focal, 224.0)
        assert torch.allclose(translation_to_weak_perspective(translation, focal, 224.0), CAMERAS, atol=1e-10)


def test_full_image_shows_what_the_crop_shows():
    """With the crop's field of view scaled to the box, both cameras see the same but for perspective."""
    box_center = torch.tensor([[200.0, 300.0], [700.0, 100.0], [512.0, 384.0]], dtype=torch.float64)
    box_size = torch.tensor([180.0, 400.0, 256.0], dtype=torch.float64)
    image = torch.tensor([1024.0, 768.0], dtype=torch.float64).expand(3, 2)
    points = 0.5 * torch.rand(3, 20, 3, dtype=torch.float64) - 0.25
    points[..., 2] *= 0.02  # nearly flat: the two cameras look from different directions
    focal = full_focal_length(image)
    translation = crop_to_full_translation(CAMERAS, box_center, box_size, image, focal)
    in_image = perspective_projection(points, translation, focal, image / 2)
    in_crop = perspective_projection(points, weak_perspective_to_translation(CAMERAS))
    expected = in_crop * box_size[:, None, None] + box_center[:, None]
    assert (in_image - expected).abs().max() < 0.3  # pixels of 1024


def test_box_that_is_the_image_changes_nothing():
    side = torch.full((3,), 256.0, dtype=torch.float64)
    image = side[:, None].expand(3, 2)
    found = crop_to_full_translation(CAMERAS, image / 2, side, image, 5000.0)
    assert torch.allclose(found, weak_perspective_to_translation(CAMERAS))


def test_batch_is_a_loop_of_singles():
    points, focal = torch.randn(3, 5, 3) * 0.3, torch.tensor([500.0, 600.0, 700.0])
    translation = weak_perspective_to_translation(CAMERAS.float())
    both = perspective_projection(points, translation, focal)
    pairs = perspective_projection(points, translation, focal[:, None].expand(3, 2))
    singles = [perspective_projection(points[i], translation[i], focal[i].item()) for i in range(3)]
    assert torch.allclose(both, torch.stack(singles)) and torch.equal(both, pairs)


def test_scale_of_zero_stays_finite_and_gradients_flow():
    camera = torch.tensor([[0.0, 0.1, 0.2]], requires_grad=True)
    out = perspective_projection(torch.ones(1, 2, 3), weak_perspective_to_translation(camera))
    assert out.isfinite().all()
    camera = CAMERAS.clone().requires_grad_()
    points = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda c, p: perspective_projection(p, weak_perspective_to_translation(c)), (camera, points)
    )


def test_autocast_keeps_the_precision():
    points, camera = torch.randn(2, 6, 3), torch.tensor([[0.9, 0.1, 0.0]] * 2)
    with torch.autocast('cpu', torch.bfloat16):
        found = perspective_projection(points, weak_perspective_to_translation(camera))
    assert torch.equal(found, perspective_projection(points, weak_perspective_to_translation(camera)))
