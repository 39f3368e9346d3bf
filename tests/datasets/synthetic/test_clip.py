"""Clips show the walk that they are of."""

import numpy as np
import pytest

from mmhier.body_models.model_directory import load_body_model
from mmhier.body_models.open_body import load_open_body
from mmhier.datasets.synthetic.clip import render_walk
from mmhier.datasets.synthetic.people import BodyKit
from mmhier.datasets.synthetic.walking import walk


@pytest.fixture(scope='module')
def truth():
    options = dict(frames=24, fps=8.0, start=(-1.0, 4.0), heading=70, speed=0.7)
    return walk(load_body_model('open'), focal=200.0, image_hw=(160, 200), height=1.0, **options)


@pytest.fixture(scope='module')
def frames(truth):
    return list(render_walk(BodyKit(load_open_body()), truth, seed=1))


def test_the_person_is_where_the_walk_is(truth, frames):
    pelvis = truth.transl + load_open_body().joint_template[0]
    height, width = truth.image_hw
    for frame, (x, y, z) in zip(frames, pelvis, strict=True):
        left, top, right, bottom = frame.boxes[0]
        column, row = truth.focal * x / z + (width - 1) / 2, truth.focal * y / z + (height - 1) / 2
        assert left < column < right and top < row < bottom
        # The feet are on the floor, a camera's height below the middle of the picture, as far as the pelvis.
        assert bottom == pytest.approx(
            height / 2 + truth.focal * truth.floor[3] / z, abs=0.12 * (bottom - top)
        )


def test_only_the_person_moves(frames):
    """What no box has ever covered, a margin for shadows left out, stays as it is."""
    images = np.stack([frame.image for frame in frames]).astype(int)
    top = int(min(frame.boxes[0, 1] for frame in frames)) - 2
    assert top > 20 and np.abs(np.diff(images[:, :top], axis=0)).max() < 25
    assert np.abs(np.diff(images, axis=0)).max() > 60


def test_seeds_dress_people(truth, frames):
    other = next(render_walk(BodyKit(load_open_body()), truth, seed=2))
    assert (other.image != frames[0].image).mean() > 0.5
