"""AGORA's scores: who is found, and errors that pay for those who are not.

Patel et al., AGORA: Avatars in Geography Optimized for Regression Analysis, CVPR 2021. In each image
predicted and true people are matched by their joints in the image; NMVE and NMJE are the mean errors of those
who are matched, divided by the F1 score. The rules are those of the published evaluation, the code is our
own.

Letters: P predicted people, G true people, K points in the image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmhier.body_models.joint_sets import GROUP_NAMES, JOINT_SETS
from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES
from mmhier.evaluation.functional.mesh import mpjpe, relative_to_joint

MIN_OVERLAP = 0.1
# The first of the points decide how far two people are apart, all of them how much they overlap.
NUM_MATCHED = 24
HIPS = SMPLX_JOINT_NAMES.index('left_hip'), SMPLX_JOINT_NAMES.index('right_hip')
_SMPLX144 = JOINT_SETS['smplx144'].landmarks
# Part -> its root (or the two whose middle is) and its points, among the set ``smplx144``.
PARTS = {
    'body': (HIPS, list(range(22))),
    'left_hand': ((20,), [20, *range(25, 40)]),
    'right_hand': ((21,), [21, *range(40, 55)]),
    'face': ((12,), [12, *(_SMPLX144.index(f'face.{name}') for name in GROUP_NAMES['face'])]),
}


class Matching(NamedTuple):
    """Who is who in an image.

    Attributes:
        pairs: (prediction, true person) of each match.
        misses: True people whom nobody found.
        false_positives: Predictions of nobody.
    """

    pairs: list[tuple[int, int]]
    misses: list[int]
    false_positives: list[int]


class Detection(NamedTuple):
    """How many people were found over all images."""

    precision: float
    recall: float
    f1: float


def match_people(
    predicted: Tensor, target: Tensor, valid: Tensor | None = None, early_stop: bool = True
) -> Matching:
    """Match the people of an image: the closest pair first, if their boxes overlap enough.

    Args:
        predicted: (P, K, 2) pixels.
        target: (G, K, 2) pixels.
        valid: (G,) bool; who is not valid (hidden by more than 90 %) is neither found nor missed, but who
            predicts such a person predicts nobody. By default all are.
        early_stop: Stop when pairs that do not overlap and predictions that are matched are as many as there
            are predictions, as the published code does. False looks at all pairs.
    """
    valid = torch.ones(len(target), dtype=torch.bool) if valid is None else valid
    pairs, taken, done, strangers = [], set(), set(), 0
    if len(predicted) and len(target):
        points = slice(None, NUM_MATCHED)
        apart = (
            (predicted[:, None, points].double() - target[None, :, points].double()).flatten(2).norm(dim=2)
        )
        overlap = box_overlap(predicted, target)
        for place in apart.flatten().argsort(stable=True).tolist():
            if len(done) == len(target) or (early_stop and len(taken) + strangers >= len(predicted)):
                break
            person, truth = divmod(place, len(target))
            close = bool(overlap[person, truth] >= MIN_OVERLAP)
            if close and (person in taken or truth in done):
                continue
            strangers += not close
            if not valid[truth]:
                done.add(truth)
            elif close:
                pairs.append((person, truth))
                taken.add(person)
                done.add(truth)
    found = {truth for _, truth in pairs}
    misses = [truth for truth in range(len(target)) if valid[truth] and truth not in found]
    return Matching(pairs, misses, [person for person in range(len(predicted)) if person not in taken])


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (P, G) of the boxes around points (P, K, 2) and (G, K, 2), in pixels."""
    start = torch.maximum(first.amin(1)[:, None], second.amin(1)[None])
    end = torch.minimum(first.amax(1)[:, None], second.amax(1)[None])
    both = (end - start + 1).clamp(min=0).prod(-1)
    areas = [(points.amax(1) - points.amin(1) + 1).prod(-1) for points in (first, second)]
    return both / (areas[0][:, None] + areas[1][None] - both)


def detection_scores(matchings: Sequence[Matching]) -> Detection:
    """Precision, recall and F1 over all images; zeros without any match."""
    hits = sum(len(matching.pairs) for matching in matchings)
    misses = sum(len(matching.misses) for matching in matchings)
    strangers = sum(len(matching.false_positives) for matching in matchings)
    if not hits:
        return Detection(0.0, 0.0, 0.0)
    return Detection(
        hits / (hits + strangers), hits / (hits + misses), hits / (hits + (strangers + misses) / 2)
    )


def joint_errors(predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
    """MPJPE of each part, relative to its root, the root included.

    Args:
        predicted: (B, 144, 3) of the set ``smplx144``, metres.
        target: (B, 144, 3), or without the outline of the face (B, 127, 3).

    Returns:
        Part -> (B,) millimetres.
    """
    return {
        part: mpjpe(*(relative_to_joint(joints, joints, root)[:, rows] for joints in (predicted, target)))
        for part, (root, rows) in PARTS.items()
    }


def vertex_errors(
    predicted: Tensor, target: Tensor, joints: tuple[Tensor, Tensor], parts: dict[str, Tensor]
) -> dict[str, Tensor]:
    """MVE of each part, relative to its root.

    Args:
        predicted: (B, V, 3) metres.
        target: (B, V, 3).
        joints: (B, 127 or 144, 3) predicted and true joints.
        parts: The parts of :data:`PARTS` -> numbers of their vertices.

    Returns:
        Part -> (B,) millimetres.
    """
    errors = {}
    for part, (root, _) in PARTS.items():
        moved = [
            relative_to_joint(mesh[:, parts[part]], own, root)
            for mesh, own in zip((predicted, target), joints, strict=True)
        ]
        errors[part] = mpjpe(*moved)
    return errors


def full_body(errors: dict[str, float]) -> float:
    """The error of the full body from those of its parts: the body's and a third of hands' and face's."""
    return errors['body'] + (errors['left_hand'] + errors['right_hand'] + errors['face']) / 3


def body_vertices(num_vertices: int, parts: dict[str, Tensor]) -> Tensor:
    """Vertices of no hand and not of the face: 3,896 or more of SMPL-X; the server's own list has 4,010."""
    rest = torch.ones(num_vertices, dtype=torch.bool)
    for rows in parts.values():
        rest[rows] = False
    return rest.nonzero()[:, 0]
