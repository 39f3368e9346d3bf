"""Boxes and cylinders: furniture behind people and occluders in front of them.

Convention: world frame, y up, metres; triangles counter-clockwise seen from outside.
"""

from typing import NamedTuple

import numpy as np

from mmhier.geometry.array_rotations import euler_to_matrix


class Prop(NamedTuple):
    """A mesh with flat colours: vertices (N, 3), triangles (F, 3), their normals (F, 3) and RGB (F, 3)."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    colours: np.ndarray


def make_box(centre: np.ndarray, size: np.ndarray, yaw: float, colours: np.ndarray) -> Prop:
    """A cuboid.

    Args:
        centre: (3,) metres.
        size: (3,) full extents along x, y, z before turning.
        yaw: turn about the y axis in radians.
        colours: (3, 3) RGB for the faces along x, y and z.
    """
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
    faces, normals, tones = [], [], []
    for axis in range(3):
        for side in (-1, 1):
            on_side = np.flatnonzero(signs[:, axis] == side)
            a, b, c, d = on_side
            normal = np.zeros(3)
            normal[axis] = side
            turn = np.dot(np.cross(signs[b] - signs[a], signs[c] - signs[a]), normal)
            quad = [(a, b, d), (a, d, c)] if turn > 0 else [(a, d, b), (a, c, d)]
            faces += quad
            normals += [normal, normal]
            tones += [colours[axis]] * 2
    turn = euler_to_matrix([0.0, yaw, 0.0])
    return Prop(
        (signs * size / 2) @ turn.T + centre,
        np.asarray(faces),
        np.asarray(normals) @ turn.T,
        np.asarray(tones),
    )


def make_cylinder(
    centre: np.ndarray, radius: float, height: float, colours: np.ndarray, sides: int = 16
) -> Prop:
    """An upright cylinder with vertical stripes.

    Args:
        centre: (3,) metres.
        radius: metres.
        height: metres.
        colours: (3, 3) RGB of the stripes and of the top.
        sides: number of flat sides.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle) * radius, np.zeros(sides), np.sin(angle) * radius], axis=1)
    low, high = ring - [0, height / 2, 0], ring + [0, height / 2, 0]
    vertices = np.concatenate([low, high, [[0, height / 2, 0], [0, -height / 2, 0]]]) + centre
    faces, normals, tones = [], [], []
    for i in range(sides):
        j = (i + 1) % sides
        outward = ring[i] + ring[j]
        faces += [
            (i, i + sides, j),
            (j, i + sides, j + sides),
            (i + sides, 2 * sides, j + sides),
            (i, j, 2 * sides + 1),
        ]
        normals += [outward / np.linalg.norm(outward)] * 2 + [
            np.array([0.0, 1.0, 0.0]),
            np.array([0.0, -1.0, 0.0]),
        ]
        tones += [colours[i // 2 % 2]] * 2 + [colours[2]] * 2
    return Prop(vertices, np.asarray(faces), np.asarray(normals), np.asarray(tones))


def sample_prop(rng: np.random.Generator, ground: np.ndarray, reach: float) -> Prop:
    """Draw a prop that stands at ``ground`` (3,) and is at most about ``reach`` metres wide."""
    colours = _colours(rng)
    width = reach * rng.uniform(0.4, 1.0)
    height = rng.choice(
        [rng.uniform(0.3, 0.6), rng.uniform(0.6, 1.1), rng.uniform(1.1, 2.3)], p=[0.4, 0.4, 0.2]
    )
    if height > 1.1:
        width *= 0.4
    centre = ground + [0.0, height / 2, 0.0]
    if rng.random() < 0.3:
        return make_cylinder(centre, width / 2, height, colours)
    if rng.random() < 0.2:
        # A board in the air, like a sign or the top of a table.
        return make_box(
            centre + [0, 0.3, 0],
            np.array([width, rng.uniform(0.08, 0.35), 0.2]),
            rng.uniform(-0.6, 0.6),
            colours,
        )
    return make_box(
        centre, np.array([width, height, reach * rng.uniform(0.3, 0.8)]), rng.uniform(-0.8, 0.8), colours
    )


def make_seat(rng: np.random.Generator, pelvis: np.ndarray, knees: np.ndarray) -> Prop:
    """A block under a sitting person.

    Args:
        rng: random generator.
        pelvis: (3,) pelvis joint.
        knees: (3,) sum of the two knee joints.
    """
    forward = (0.5 * knees - pelvis) * [1.0, 0.0, 1.0]
    forward /= max(float(np.linalg.norm(forward)), 1e-6)
    height = max(float(pelvis[1]) - 0.115, 0.05)
    width, depth = rng.uniform(0.38, 0.7), rng.uniform(0.36, 0.44)
    centre = np.array([pelvis[0], height / 2, pelvis[2]]) + 0.06 * forward
    return make_box(
        centre, np.array([width, height, depth]), float(np.arctan2(forward[0], forward[2])), _colours(rng)
    )


def _colours(rng: np.random.Generator) -> np.ndarray:
    """Three related colours, mostly muted."""
    base = rng.uniform(0.08, 0.85, 3)
    grey = rng.uniform(0.3, 1.0) * (base - base.mean())
    return np.clip(base.mean() + grey + rng.normal(0.0, 0.07, (3, 1)), 0.03, 0.95)
