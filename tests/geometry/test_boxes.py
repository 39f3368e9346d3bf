"""Boxes are checked where they come in."""

import pytest

from mmhier.geometry.boxes import check_boxes, check_scores


@pytest.mark.parametrize(
    'boxes, text',
    [
        ([[0, 0, 10, 10], [0, 0, float('nan'), 10]], r'boxes\[1\].*nan'),
        ([[10, 0, 5, 10]], r'boxes\[0\] = \[10.0, 0.0, 5.0, 10.0\] is not a box'),
        ([[0, 0, 10, 0]], 'y1 < y2'),
        ([[0, 0, 10]], r'\(N, 4\).*\(1, 3\)'),
        ([0, 0, 10, 10], r'got the shape \(4,\)'),
    ],
)
def test_bad_boxes_are_named(boxes, text):
    with pytest.raises(ValueError, match=text):
        check_boxes(boxes)


@pytest.mark.parametrize(
    ('scores', 'text'), [([0.5], r'\(2,\), one per box'), ([0.5, float('nan')], r'scores\[1\] = nan')]
)
def test_bad_scores_are_named(scores, text):
    with pytest.raises(ValueError, match=text):
        check_scores(scores, 2)
