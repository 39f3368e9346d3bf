"""Draw meshes of people over an image, or from the side, with numpy and OpenCV: no GPU, display or driver.

The z-buffer is that of the synthetic people. Samples lie on a regular grid, ``supersampling`` times as dense
as the pixels along each axis; vertices are lit with smooth normals under two lamps, samples lie between them,
and averaging gives the edges their smoothness. Only the boxes of people are worked on, those that overlap
together, in bands, so that memory does not grow with the image.

Letters: P people, V vertices, F triangles, H, W image size, N points.

Convention:
    Camera frame: x right, y down, z forward, metres, as in :mod:`mmhier.geometry.cameras`. Pixel coordinates
    start at the image's top left corner: pixel (column c, row r) covers [c, c + 1) x [r, r + 1), and the
    centre of an image is (W / 2, H / 2). (Coordinates that have (0, 0) in the centre of the first pixel, as
    those of COCO and of the synthetic people, need 0.5 more.) Triangles are counter-clockwise seen from
    outside; inner sides are not drawn. Images and colours are BGR, 0 to 255.

    What is nearer hides what is farther, sample by sample, whatever the order of the people. Triangles that
    reach closer than ``NEAR`` to the camera's plane, or behind it, are not drawn.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmhier.palette import BODY_BLUE
from mmhier.rasterizer import NEAR, FrameBuffer, project, vertex_normals
from mmhier.rasterizer.frame_buffer import checked_faces

WHITE = 255

# Samples of a band of the picture: bounds the memory (about 25 bytes each, 60 without C++).
_BAND_SAMPLES = 1_000_000
# A side view leaves this share of the picture empty on every side.
_SIDE_MARGIN = 0.05
_GAMMA = 2.2


class _Lamp(NamedTuple):
    """Direction towards the lamp in the camera frame, BGR strength, and how far its light wraps around."""

    direction: np.ndarray
    strength: np.ndarray
    wrap: float


def _lamp(direction: tuple[float, float, float], strength: tuple[float, float, float], wrap: float) -> _Lamp:
    towards = np.array(direction, np.float32)
    return _Lamp(towards / np.linalg.norm(towards), np.array(strength, np.float32), wrap)


_KEY = _lamp((-0.65, -0.8, -0.6), (0.86, 0.90, 0.93), 0.08)
_FILL = _lamp((0.9, -0.1, -0.5), (0.19, 0.17, 0.155), 0.25)
_SKY, _GROUND = 0.20, 0.09  # ambient light on what faces up and down


class Layer(NamedTuple):
    """People drawn on nothing.

    Attributes:
        colours: (h, w, 3) float32 BGR, 0 to 255, weighted with the coverage.
        coverage: (h, w) float32, the share of a pixel that people cover, 0 to 1.
        corner: column and row of the image where the layer's first pixel lies.
    """

    colours: np.ndarray
    coverage: np.ndarray
    corner: tuple[int, int]


def render_people(
    image: np.ndarray | None,
    vertices: np.ndarray,
    faces: np.ndarray,
    focal: float | Sequence[float],
    center: Sequence[float],
    colours: np.ndarray | None = None,
    alpha: float = 1.0,
    image_hw: tuple[int, int] | None = None,
    supersampling: int = 3,
) -> np.ndarray:
    """Draw people over a copy of an image.

    Args:
        image: (H, W, 3) uint8 BGR, or None for a white one of size ``image_hw``.
        vertices: (P, V, 3) in the camera frame, metres; P may be 0.
        faces: (F, 3) triangles, the same for all people.
        focal: focal length in pixels of the image, one number or (x, y).
        center: (x, y) where the camera's axis meets the image, pixels.
        colours: (P, 3) BGR, 0 to 255; blue by default.
        alpha: opacity of the people, 0 to 1. People never shine through each other.
        image_hw: height and width if there is no image.
        supersampling: samples per pixel along each axis.

    Returns:
        (H, W, 3) uint8 BGR. Pixels that no person touches are those of ``image``.

    Raises:
        ValueError: If shapes do not fit, vertices are not finite or a number is out of its range.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f'alpha={alpha} is not an opacity; expected 0 to 1')
    canvas = _canvas(image, image_hw)
    vertices = _checked_vertices(vertices)
    colours = _checked_colours(colours, len(vertices))
    for group in _groups(vertices, focal, center, canvas.shape[:2]):
        layer = draw_layer(
            vertices[group], faces, focal, center, canvas.shape[:2], colours[group], supersampling
        )
        (left, top), (height, width) = layer.corner, layer.coverage.shape
        rows = max(1, _BAND_SAMPLES // max(1, width))
        for first in range(0, height, rows):
            band = slice(first, first + rows)
            part = canvas[top : top + height, left : left + width][band]
            kept = 1.0 - np.float32(alpha) * layer.coverage[band, :, None]
            part[:] = np.clip(kept * part + np.float32(alpha) * layer.colours[band] + 0.5, 0, 255)
    return canvas


def side_view(
    vertices: np.ndarray,
    faces: np.ndarray,
    focal: float | Sequence[float],
    image_hw: tuple[int, int],
    colours: np.ndarray | None = None,
    supersampling: int = 3,
) -> np.ndarray:
    """Draw people as seen from the right of the picture, on white.

    The camera moves around the vertical axis through the middle of the people by 90 degrees, so that what
    was far is at the right and what was near at the left, and stands where all of them just fit.

    Args:
        vertices: (P, V, 3) in the camera frame of the front view, metres.
        faces: (F, 3) triangles.
        focal: focal length in pixels, one number or (x, y).
        image_hw: height and width of the picture.
        colours: (P, 3) BGR, 0 to 255.
        supersampling: samples per pixel along each axis.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ValueError: As for :func:`render_people`.
    """
    vertices = _checked_vertices(vertices)
    focal_xy = _focal_xy(focal)
    height, width = image_hw
    turned = np.stack([vertices[..., 2], vertices[..., 1], -vertices[..., 0]], axis=-1)
    if turned.size:
        turned -= (turned.min(axis=(0, 1)) + turned.max(axis=(0, 1))) / 2
        half = (0.5 - _SIDE_MARGIN) * np.array([width, height])
        needed = (np.abs(turned[..., :2]) * focal_xy / half).max(axis=-1) - turned[..., 2]
        turned[..., 2] += max(float(needed.max()), 2 * NEAR - float(turned[..., 2].min()))
    center = (width / 2, height / 2)
    return render_people(None, turned, faces, focal, center, colours, 1.0, image_hw, supersampling)


def mesh_panel(
    image: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    focal: float | Sequence[float],
    center: Sequence[float],
    colours: np.ndarray | None = None,
    alpha: float = 1.0,
    supersampling: int = 3,
) -> np.ndarray:
    """The image, the people over it and their side view beside each other; (H, 3 W, 3) uint8 BGR.

    The arguments are those of :func:`render_people`. Panels are laid out by
    :func:`mmhier.visualization.skeleton.contact_sheet`.
    """
    overlay = render_people(image, vertices, faces, focal, center, colours, alpha, None, supersampling)
    side = side_view(vertices, faces, focal, image.shape[:2], colours, supersampling)
    return np.concatenate([image, overlay, side], axis=1)


def draw_layer(
    vertices: np.ndarray,
    faces: np.ndarray,
    focal: float | Sequence[float],
    center: Sequence[float],
    image_hw: tuple[int, int],
    colours: np.ndarray | None = None,
    supersampling: int = 3,
) -> Layer:
    """Draw the smallest part of the image that holds all people; arguments as in :func:`render_people`."""
    vertices = _checked_vertices(vertices)
    faces = checked_faces(faces, vertices.shape[1] or None)
    colours = _checked_colours(colours, len(vertices))
    if supersampling < 1:
        raise ValueError(f'supersampling={supersampling}: expected at least one sample per pixel')
    screens = _screens(vertices, focal, center)
    left, top, right, bottom = _box(screens, image_hw)
    height, width = bottom - top, right - left
    layer = Layer(
        np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32), (left, top)
    )
    rows = max(1, _BAND_SAMPLES // max(1, width * supersampling**2))
    if height:
        lit = np.stack([
            _shade(colour, vertex_normals(person, faces), person)
            for colour, person in zip(colours, vertices)
        ])  # fmt: skip
    for first in range(0, height, rows):
        count = min(rows, height - first)
        buffer = FrameBuffer((count * supersampling, width * supersampling))
        for number, screen in enumerate(screens):
            # Depth is not a length on the screen.
            shifted = (screen - [left, top + first, 0.0]) * [supersampling, supersampling, 1.0]
            buffer.draw(shifted, faces, number)
        band = slice(first, first + count)
        layer.colours[band], layer.coverage[band] = buffer.average(faces, lit, supersampling)
    return layer


def _screens(
    vertices: np.ndarray, focal: float | Sequence[float], center: Sequence[float]
) -> list[np.ndarray]:
    """Of each person (V, 3): pixel x, pixel y, depth."""
    camera = np.diag([*_focal_xy(focal), 1.0])
    camera[:2, 2] = center
    return [project(person.astype(np.float64), camera) for person in vertices]


def _groups(
    vertices: np.ndarray,
    focal: float | Sequence[float],
    center: Sequence[float],
    image_hw: tuple[int, int],
) -> list[list[int]]:
    """People whose boxes overlap, together; those who are not in the image are in no group."""
    found: list[tuple[list[int], tuple[int, int, int, int]]] = []
    for number, screen in enumerate(_screens(vertices, focal, center)):
        people, box = [number], _box([screen], image_hw)
        if box[0] == box[2]:
            continue
        while touching := [other for other in found if _overlap(box, other[1])]:
            for other in touching:
                found.remove(other)
                people = other[0] + people
                box = (*map(min, box[:2], other[1][:2]), *map(max, box[2:], other[1][2:]))
        found.append((people, box))
    return [sorted(people) for people, _ in found]


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _shade(colour: np.ndarray, normals: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Light on points of one person: normals (N, 3) of any length and positions (N, 3); (N, 3) 0 to 255."""
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    towards = -positions / np.linalg.norm(positions, axis=1, keepdims=True)
    facing = np.clip(np.einsum('nc,nc->n', normals, towards), 0.0, 1.0)
    # y points down: what faces up has a negative y.
    ambient = _GROUND + (_SKY - _GROUND) * (0.5 - 0.5 * normals[:, 1:2])
    light = np.repeat(ambient, 3, axis=1)
    for lamp in (_KEY, _FILL):
        reached = (normals @ lamp.direction + lamp.wrap) / (1.0 + lamp.wrap)
        light += np.clip(reached, 0.0, 1.0)[:, None] * lamp.strength
    # Grazing surfaces are darker, which rounds limbs and sets them off from the body behind them.
    light *= (0.55 + 0.45 * np.sqrt(facing))[:, None]
    half = _KEY.direction + towards
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    shine = 0.05 * np.clip(np.einsum('nc,nc->n', normals, half), 0.0, 1.0) ** 24
    linear = (colour / 255.0) ** _GAMMA * light + shine[:, None]
    return 255.0 * np.clip(linear, 0.0, 1.0) ** (1.0 / _GAMMA)


def _box(screens: list[np.ndarray], image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that people may touch; right and bottom are exclusive."""
    height, width = image_hw
    points = [screen[screen[:, 2] > NEAR, :2] for screen in screens]
    points = np.concatenate([np.zeros((0, 2)), *points])
    if not len(points):
        return 0, 0, 0, 0
    left, top = np.clip(np.floor(points.min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, (width, height)).astype(int).tolist()
    return (left, top, right, bottom) if right > left and bottom > top else (0, 0, 0, 0)


def _canvas(image: np.ndarray | None, image_hw: tuple[int, int] | None) -> np.ndarray:
    if image is None:
        if image_hw is None:
            raise ValueError('without an image, image_hw has to give its height and width')
        return np.full((*image_hw, 3), WHITE, np.uint8)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image is {image.dtype} {image.shape}; expected uint8 (H, W, 3)')
    return image.copy()


def _focal_xy(focal: float | Sequence[float]) -> np.ndarray:
    pair = np.broadcast_to(np.asarray(focal, np.float64), 2)
    if not (np.isfinite(pair) & (pair > 0)).all():
        raise ValueError(f'focal={focal}: expected positive pixels')
    return pair


def _checked_vertices(vertices: np.ndarray) -> np.ndarray:
    vertices = np.asarray(vertices, np.float32)
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f'vertices are {vertices.shape}; expected (people, vertices, 3)')
    broken = np.flatnonzero(~np.isfinite(vertices).all(axis=(1, 2)))
    if len(broken):
        raise ValueError(f'vertices of person {broken[0]} are not finite; leave such people out')
    return vertices


def _checked_colours(colours: np.ndarray | None, people: int) -> np.ndarray:
    if colours is None:
        return np.tile(np.float32(BODY_BLUE), (people, 1))
    colours = np.asarray(colours, np.float32)
    if colours.shape != (people, 3):
        raise ValueError(f'colours are {colours.shape}; expected ({people}, 3), one for each person')
    return colours
