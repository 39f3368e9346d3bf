"""Sizes follow people, colours tell sides and people apart."""

import numpy as np
import pytest

from mmhier.cli import infer_options
from mmhier.palette import PALETTE
from mmhier.visualization import style
from mmhier.visualization.style import Style, person_colour, person_size


def test_the_command_offers_what_there_is():
    for name in ('STYLES', 'COLOURS', 'BACKGROUNDS'):
        assert getattr(infer_options, name) == getattr(style, name)


def test_size_is_that_of_the_keypoints_and_else_of_the_box():
    box = np.array([0, 0, 640, 480])  # the whole image, as without a detector
    points = np.array([[10, 20], [40, 110], [np.nan, 5]])
    assert person_size(box, points) == 90
    assert person_size(box, points[:1]) == person_size(box, points[:0]) == 640
    assert person_size(np.full(4, np.nan), points[:0]) == 0


def test_lines_are_as_wide_as_people_are_large():
    assert [Style().width(size) for size in (0, 20, 160, 320, 3200)] == [1, 1, 2, 4, 40]
    assert Style(line_width=3.2).width(5000) == 3


def test_colours_of_people_and_sides_are_distinct():
    def apart(colours):
        colours = np.array(colours, float)
        return min(np.abs(a - b).max() for i, a in enumerate(colours) for b in colours[:i])

    assert apart(PALETTE) > 25 and apart([person_colour(number) for number in range(8)]) > 50
    assert (person_colour(3) == person_colour(11)).all()
    for how in (Style(), Style(colours='person')):
        for number in range(8):
            assert apart(list(how.side_colours(number).values())) > 40
    assert len({Style().side_colours(number)['left'] for number in range(8)}) == 1
    assert len({Style(colours='person').side_colours(number)['left'] for number in range(8)}) == 8
    assert len({tuple(Style().body_colour(number)) for number in range(8)}) == 1
    assert len({tuple(Style(colours='person').body_colour(number)) for number in range(8)}) == 8


def test_backgrounds():
    image = np.full((4, 6, 3), 200, np.uint8)
    levels = {name: Style(background=name).canvas(image, (4, 6)) for name in style.BACKGROUNDS}
    assert {name: int(canvas[0, 0, 0]) for name, canvas in levels.items()} == dict(
        image=200, dim=70, white=255, black=0
    )
    assert levels['image'] is not image
    assert (Style(background='dim').canvas(None, (4, 6)) == 255).all()


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (dict(style='bones'), "style='bones': there are auto, skeleton, mesh, both"),
        (dict(colours='red'), "colours='red'"),
        (dict(background='pink'), "background='pink'"),
        (dict(score_thr=1.5), 'score_thr=1.5'),
        (dict(score_thr=float('nan')), 'score_thr=nan'),
        (dict(line_width=0), 'line_width=0'),
        (dict(line_width=float('inf')), 'line_width=inf'),
    ],
)
def test_bad_values_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        Style(**value)
