import numpy as np
import pytest

from mmhier.datasets.synthetic.appearance import SKIN_DISTANCE, Fabric, paint, sample_outfit, surface_offsets


@pytest.fixture
def outfits(kit):
    rng = np.random.default_rng(0)
    return [sample_outfit(rng, kit.marks) for _ in range(60)]


def test_colours_are_valid_everywhere(kit, outfits):
    for outfit in outfits:
        colour, gloss = paint(outfit, kit.marks, kit.texture)
        assert colour.shape == kit.texture.shape
        assert np.isfinite(colour).all()
        assert colour.min() >= 0
        assert colour.max() <= 1.6  # light folds
        assert gloss.min() >= 0


def test_hands_show_skin_and_feet_show_shoes(kit, outfits):
    joints = kit.marks.joints
    points = np.stack([joints['left_hand'], joints['right_hand'], joints['left_foot']]).astype(np.float32)
    for outfit in outfits:
        colour, _ = paint(outfit, kit.marks, points)
        np.testing.assert_allclose(colour[:2], np.stack([outfit.skin] * 2), atol=1e-6)
        assert np.allclose(colour[2], outfit.shoes, atol=1e-6) or np.allclose(
            colour[2], outfit.sole, atol=1e-6
        )


def test_front_and_back_of_the_head_differ(kit, outfits):
    nose = kit.marks.face['nose']
    back = nose * [1, 1, 0] + [0, 0.03, -0.1]
    different = 0
    for outfit in outfits:
        colour, _ = paint(outfit, kit.marks, np.stack([nose, back]).astype(np.float32))
        different += np.abs(colour[0] - colour[1]).max() > 0.05
    assert different > 0.8 * len(outfits)


def test_clothes_push_outwards_a_little(kit, outfits):
    for outfit in outfits:
        offset = surface_offsets(outfit, kit.marks, kit.texture)
        assert offset.min() == 0
        assert 0.004 < offset.max() < 0.06


def test_stripes_follow_the_template():
    red, blue = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    fabric = Fabric('stripes', red, blue, 0.1)
    points = np.array([[0, 0.05, 0], [0, 0.15, 0], [0.5, 0.15, 0.2], [0, 0.25, 0]])
    np.testing.assert_array_equal(fabric.paint(points), [blue, red, red, blue])


def test_clothes_never_have_the_colour_of_the_skin(outfits):
    for outfit in outfits:
        for fabric in (outfit.top, outfit.bottom):
            distance = fabric.colour / fabric.colour.sum() - outfit.skin / outfit.skin.sum()
            assert np.abs(distance).max() >= SKIN_DISTANCE
