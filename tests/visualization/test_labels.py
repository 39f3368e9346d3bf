"""Numbers are legible on any ground and stay within the picture; boxes scale."""

import numpy as np
import pytest

from mmhier.visualization.labels import draw_box, draw_number

RED = (0, 0, 255)


@pytest.mark.parametrize('ground', [0, 128, 255])
def test_a_number_has_a_dark_halo_on_any_ground(ground):
    canvas = np.full((200, 300, 3), ground, np.uint8)
    draw_number(canvas, 7, np.array([100, 90, 150, 190]), 100.0, RED)
    red = (canvas[..., 2] > 200) & (canvas[..., 0] < 60)
    rows = np.flatnonzero(red.any(axis=1))
    assert 8 <= rows[-1] - rows[0] + 1 <= 12 and rows[-1] < 90, 'a tenth of the person, above the box'
    touched = np.pad(red, 1)
    around = touched[:-2, 1:-1] | touched[2:, 1:-1] | touched[1:-1, :-2] | touched[1:-1, 2:]
    edge = canvas[around & ~red]
    assert len(edge) > 10
    assert (edge[:, :2] < 100).all(), 'no ground between the blurred digits and the halo'
    if ground:
        assert (canvas.max(axis=2) < 20).sum() > 10


@pytest.mark.parametrize('size', [30.0, 300.0, 3000.0])
def test_digits_follow_the_person(size):
    canvas = np.full((4000, 3000, 3), 255, np.uint8)
    draw_number(canvas, 12, np.array([900, 900, 1000, 1000]), size, RED)
    rows = np.flatnonzero((canvas != 255).any(axis=(1, 2)))
    expected = min(max(10, size / 10), 4000 / 15)
    assert np.ptp(rows) == pytest.approx(1.3 * expected, rel=0.25)


@pytest.mark.parametrize('box', [(-500, -500, 10, 10), (5e8, 5e8, 6e8, 6e8), (55, 0, 70, 9), (np.nan,) * 4])
def test_a_number_stays_within_the_picture(box):
    canvas = np.zeros((40, 60, 3), np.uint8)
    draw_number(canvas, 8, np.array(box), 50.0, RED)
    assert (canvas[..., 2] > 200).sum() > 10
    tiny = np.zeros((4, 5, 3), np.uint8)
    draw_number(tiny, 8, np.array(box), 50.0, RED)


def test_boxes_lie_where_they_are_and_scale():
    for width in (1, 2, 8):
        canvas = np.full((100, 100, 3), 255, np.uint8)
        draw_box(canvas, np.array([20, 30, 80, 70]), width, RED)
        column = canvas[50].astype(int)
        red = np.flatnonzero((column[:, 2] > 200) & (column[:, 0] < 60))
        assert red[0] >= 20 - width / 2 - 1 and red[-1] <= 80 + width / 2 + 1
        assert len(red) == pytest.approx(2 * width, abs=2 * (width > 1))
        assert (column.max(axis=1) < 60).any() == (width > 1), 'a rim, where there is room'
        assert (canvas[50, 30:70] == 255).all()
    draw_box(canvas, np.array([-1e30, np.nan, np.inf, 5]), 2)
