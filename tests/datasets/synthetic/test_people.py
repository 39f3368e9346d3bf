import dataclasses

import numpy as np
import pytest

from mmhier.datasets.synthetic.appearance import sample_outfit
from mmhier.datasets.synthetic.people import BodyKit
from mmhier.datasets.synthetic.poses import sample_pose


def test_needs_the_open_body(kit):
    with pytest.raises(ValueError, match='render_faces'):
        BodyKit(dataclasses.replace(kit.model, render_faces=None))


def test_stands_on_the_floor_and_moves_as_a_whole(kit):
    rng = np.random.default_rng(2)
    person = kit.build(sample_pose(rng), rng.normal(size=10), sample_outfit(rng, kit.marks), 0.7)
    assert abs(person.vertices[:, 1].min()) < 1e-6
    assert np.abs(person.joints[0, [0, 2]]).max() < 0.01
    moved = person.moved(np.array([1.0, 0.5, -2.0]))
    for name in ('vertices', 'joints', 'coco17', 'transl'):
        np.testing.assert_allclose(
            getattr(moved, name) - getattr(person, name),
            np.broadcast_to([1.0, 0.5, -2.0], getattr(person, name).shape),
            atol=1e-6,
        )


def test_clothes_lie_outside_the_body(kit):
    rng = np.random.default_rng(3)
    person = kit.build(sample_pose(rng), np.zeros(10), sample_outfit(rng, kit.marks), 0.0)
    from mmhier.body_models.skinning import pose_body

    rotations = person.pose.rotations.copy()
    bare = pose_body(kit.model, rotations, np.zeros(10), person.transl, kit.model.render_vertices)
    distance = np.linalg.norm(bare.vertices - person.vertices, axis=1)
    assert distance.max() < 0.08
    assert (distance > 0.003).mean() > 0.3
