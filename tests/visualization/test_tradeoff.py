"""Cost against accuracy as a picture."""

import cv2
import pytest

from mmhier.visualization.tradeoff import Point, draw_tradeoff


def test_picture(tmp_path):
    points = [Point('swinpose_s_s3_coco', 9, 74.6, 36), Point('gmfpose_t_s3_coco', 4, 75.7, 9)]
    draw_tradeoff(tmp_path / 'a.png', points, 'GMACs', 'AP')
    both = cv2.imread(str(tmp_path / 'a.png'))
    draw_tradeoff(tmp_path / 'b.png', points[:1], 'GMACs', 'AP')
    one = cv2.imread(str(tmp_path / 'b.png'))
    assert both.shape == one.shape and min(both.shape[:2]) > 400 and (both != one).any()
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match='no model with a score'):
        draw_tradeoff(tmp_path / 'a.png', [], 'x', 'y')
    assert not list(tmp_path.iterdir())
