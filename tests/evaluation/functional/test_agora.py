"""AGORA's matching and scores, by hand."""

import pytest
import torch

from mmhier.evaluation.functional.agora import (
    PARTS,
    Matching,
    body_vertices,
    box_overlap,
    detection_scores,
    full_body,
    joint_errors,
    match_people,
    vertex_errors,
)


def people(*places):
    """People of 24 joints on a diagonal of 23 pixels."""
    steps = torch.arange(24.0)[:, None].expand(24, 2)
    return torch.stack([steps + torch.tensor(place, dtype=torch.float) for place in places])


def test_the_closest_are_matched_first():
    found = match_people(people((101, 0), (2, 0), (500, 500)), people((0, 0), (100, 0)))
    assert found == Matching([(0, 1), (1, 0)], [], [2])
    # Greedy: the closest pair takes the prediction that the other one would need.
    found = match_people(people((4, 0), (20, 0)), people((0, 0), (5, 0)))
    assert found.pairs[0] == (0, 1)


def test_who_does_not_overlap_is_missed_and_a_stranger():
    found = match_people(people((30, 0)), people((0, 0)))
    assert found == Matching([], [0], [0])
    # 24 x 24 pixels, moved by 19: 5 x 24 of 2 * 576 - 120 pixels, 0.116; by 20: 4 x 24, 0.091.
    assert box_overlap(people((0, 0)), people((19, 0))).item() == pytest.approx(120 / 1032)
    assert match_people(people((19, 0)), people((0, 0))).pairs
    assert not match_people(people((20, 0)), people((0, 0))).pairs


def test_hidden_people_are_neither_found_nor_missed():
    """Who predicts one of them predicts nobody."""
    found = match_people(people((0, 0), (100, 0)), people((0, 0), (100, 0)), torch.tensor([False, True]))
    assert found == Matching([(1, 1)], [], [0])
    found = match_people(people((500, 0)), people((0, 0), (100, 0)), torch.tensor([False, True]))
    assert found == Matching([], [1], [0])


def test_nobody_on_either_side():
    assert match_people(torch.zeros(0, 24, 2), people((0, 0))) == Matching([], [0], [])
    assert match_people(people((0, 0)), torch.zeros(0, 24, 2)) == Matching([], [], [0])


def test_a_stranger_ends_the_published_search():
    """One prediction beside a truth; another one, which it overlaps, is farther away by the joints."""
    predicted = people((30, 0))
    far = predicted + torch.linspace(0, 50, 24)[:, None]
    target = torch.cat([people((0, 0)), far])
    assert box_overlap(predicted, target)[0].tolist() == [0, pytest.approx(576 / 74**2, abs=0.01)]
    assert match_people(predicted, target, early_stop=False) == Matching([(0, 1)], [0], [])
    assert match_people(predicted, target) == Matching([], [0, 1], [0])


def test_scores_by_hand():
    """Three hits, one miss, two strangers."""
    matchings = [Matching([(0, 0), (1, 1)], [2], [2]), Matching([(0, 0)], [], [1])]
    scores = detection_scores(matchings)
    assert scores == pytest.approx((3 / 5, 3 / 4, 3 / 4.5))
    assert scores.f1 == pytest.approx(2 / (1 / scores.precision + 1 / scores.recall))
    assert detection_scores([Matching([], [0], [0])]) == (0, 0, 0)


def test_convention_parts_and_their_roots():
    """22 joints from the middle of the hips, 16 of a hand from its wrist, 52 of the face from the neck."""
    assert {part: len(rows) for part, (_, rows) in PARTS.items()} == {
        'body': 22, 'left_hand': 16, 'right_hand': 16, 'face': 52,
    }  # fmt: skip
    target = torch.zeros(1, 127, 3).double()
    predicted = target.clone()
    predicted[:, 1, 0], predicted[:, 2, 0] = 0.01, -0.01  # hips: their middle stays
    predicted[:, 20, 1] = 0.022
    predicted[:, 76, 2] = 0.052
    errors = joint_errors(predicted, target)
    assert errors['body'].item() == pytest.approx((10 + 10 + 22) / 22)
    assert errors['left_hand'].item() == pytest.approx(22 * 15 / 16)  # all but the wrist itself
    assert errors['right_hand'].item() == 0
    assert errors['face'].item() == pytest.approx(1)
    assert full_body({'body': 60, 'left_hand': 30, 'right_hand': 33, 'face': 27}) == 90


def test_vertices_are_judged_at_the_joints():
    parts = {'body': [0, 1], 'left_hand': [2], 'right_hand': [3], 'face': [4, 5]}
    parts = {part: torch.tensor(rows) for part, rows in parts.items()}
    mesh, joints = torch.randn(2, 6, 3).double(), torch.randn(2, 127, 3).double()
    moved = mesh.clone()
    moved[:, 2, 0] += 0.007
    errors = vertex_errors(moved + 5, mesh, (joints + 5, joints), parts)
    expected = {'body': 0, 'left_hand': 7, 'right_hand': 0, 'face': 0}
    for part, value in expected.items():
        assert errors[part].tolist() == pytest.approx([value] * 2, abs=1e-6)
    rest = body_vertices(8, {part: parts[part] for part in ('left_hand', 'right_hand', 'face')})
    assert rest.tolist() == [0, 1, 6, 7]
