"""Procedural backgrounds in the perspective of the camera: a textured floor under a wall or a sky.

Letters: H, W image height and width. Colours are RGB in [0, 1].

Convention: world frame with y up and the floor at y = 0, metres; see :mod:`.scene` for the camera.
"""

import cv2
import numpy as np

FLOOR_TONES = np.array(
    [
        [0.55, 0.42, 0.30],
        [0.45, 0.45, 0.46],
        [0.35, 0.45, 0.24],
        [0.70, 0.64, 0.54],
        [0.30, 0.30, 0.33],
        [0.62, 0.56, 0.50],
    ]
)
WALL_TONES = np.array(
    [
        [0.86, 0.83, 0.77],
        [0.62, 0.70, 0.76],
        [0.72, 0.62, 0.52],
        [0.52, 0.58, 0.50],
        [0.80, 0.80, 0.82],
        [0.58, 0.36, 0.30],
        [0.32, 0.36, 0.42],
    ]
)
TILE = 128


def value_noise(rng: np.random.Generator, size: int = TILE) -> np.ndarray:
    """Tileable noise (size, size) in [0, 1], a sum of octaves."""
    total = np.zeros((size, size), np.float32)
    cells, gain = 4, 1.0
    while cells <= size // 2:
        grid = rng.random((cells, cells), dtype=np.float32)
        wrapped = np.pad(grid, 1, mode='wrap')
        step = size // cells
        grown = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        total += gain * grown[step : step + size, step : step + size]
        cells, gain = cells * 2, gain * 0.6
    total -= total.min()
    return total / total.max()


def render_background(
    rng: np.random.Generator, rays: np.ndarray, camera_height: float, distance: float
) -> np.ndarray:
    """Draw floor and wall, or ground and sky.

    Args:
        rng: random generator.
        rays: (H, W, 3) world directions of the pixels.
        camera_height: height of the camera above the floor, metres.
        distance: distance of the main person, metres.

    Returns:
        (H, W, 3) float32 image.
    """
    noise = value_noise(rng)
    indoor = rng.random() < 0.6
    wall = distance * rng.uniform(1.25, 3.0) + 0.8
    turn = rng.uniform(-0.5, 0.5)
    flat = rays.reshape(-1, 3)
    if indoor:
        facing = np.maximum(
            flat[:, 0] * np.float32(np.sin(turn)) + flat[:, 2] * np.float32(np.cos(turn)), 1e-3
        )
        to_wall = np.float32(wall) / facing
        is_upper = np.float32(camera_height) + flat[:, 1] * to_wall > 0.0
    else:
        is_upper = flat[:, 1] > -0.004
    upper, lower = np.flatnonzero(is_upper), np.flatnonzero(~is_upper)
    image = np.empty_like(flat)
    if indoor:
        along = flat[upper, 0] * np.float32(np.cos(turn)) - flat[upper, 2] * np.float32(np.sin(turn))
        height = np.float32(camera_height) + flat[upper, 1] * to_wall[upper]
        image[upper] = _wall(rng, noise, along * to_wall[upper], height)
    else:
        image[upper] = _sky(rng, noise, flat[upper])
    to_floor = np.float32(camera_height) / np.maximum(-flat[lower, 1], 1e-4)
    image[lower] = _floor(rng, noise, flat[lower, 0] * to_floor, flat[lower, 2] * to_floor)
    if not indoor and len(upper) and len(lower):
        fade = np.exp(-to_floor / 25.0)[:, None]
        image[lower] = image[lower] * fade + image[upper].mean(axis=0) * (1.0 - fade)
    return _clutter(rng, image.reshape(rays.shape))


def _sample_tile(noise: np.ndarray, x: np.ndarray, y: np.ndarray, per_metre: float) -> np.ndarray:
    """Nearest look-up of tiled noise at metric coordinates (P,)."""
    scale = np.float32(per_metre)
    column = (x * scale).astype(np.int32) & (TILE - 1)
    row = (y * scale).astype(np.int32) & (TILE - 1)
    return noise.ravel()[row * TILE + column]


def _tone(rng: np.random.Generator, tones: np.ndarray) -> np.ndarray:
    tone = tones[rng.integers(len(tones))] * rng.uniform(0.7, 1.15) + rng.normal(0.0, 0.03, 3)
    return np.clip(tone, 0.03, 1.0).astype(np.float32)


def _floor(rng: np.random.Generator, noise: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(P, 3) colours at floor coordinates in metres."""
    base = _tone(rng, FLOOR_TONES)
    shade = 0.75 + 0.5 * _sample_tile(noise, x, z, rng.uniform(15, 60))
    kind = rng.integers(4)
    size = np.float32(rng.uniform(0.3, 0.9))
    if kind == 0:
        dark = (np.floor(x / size) + np.floor(z / size)) % 2 == 0
        shade[dark] *= rng.uniform(0.55, 0.9)
    elif kind == 1:
        shade *= 0.85 + 0.3 * np.mod(np.floor(x / (0.35 * size)) * np.float32(0.618), 1.0)
    elif kind == 2:
        shade[(np.mod(x, size) < 0.03 * size) | (np.mod(z, size) < 0.03 * size)] *= 0.65
    return shade[:, None] * base


def _wall(rng: np.random.Generator, noise: np.ndarray, along: np.ndarray, height: np.ndarray) -> np.ndarray:
    """(P, 3) colours at wall coordinates in metres."""
    base = _tone(rng, WALL_TONES)
    shade = 0.88 + 0.2 * _sample_tile(noise, along, height, rng.uniform(8, 40))
    kind = rng.integers(5)
    if kind == 0:
        rows = np.floor(height / 0.16)
        place = along + 0.2 * rows
        scatter = np.sin(np.floor(place / 0.4) * np.float32(12.99) + rows * np.float32(78.23)) * np.float32(
            437.6
        )
        shade *= 0.85 + 0.3 * np.mod(scatter, 1.0)
        shade[(np.mod(height, 0.16) < 0.015) | (np.mod(place, 0.4) < 0.015)] *= 0.7
    elif kind == 1:
        period = rng.uniform(0.15, 0.5)
        shade[np.mod(along, period) < 0.5 * period] *= 0.9
    # Skirting board.
    shade[height < 0.11] *= 0.75
    colour = shade[:, None] * base
    if kind == 2:
        colour[height < 1.0] *= _tone(rng, WALL_TONES)
    for _ in range(rng.integers(0, 5)):
        centre, middle = rng.uniform(-4, 4), rng.uniform(1.0, 2.2)
        half_w, half_h = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.7)
        tint, rim, grain = rng.random(3, dtype=np.float32), rng.uniform(0.05, 0.9), rng.uniform(20, 90)
        inside = np.flatnonzero((np.abs(along - centre) < half_w) & (np.abs(height - middle) < half_h))
        from_side, from_top = np.abs(along[inside] - centre), np.abs(height[inside] - middle)
        picture = 0.4 + 0.8 * _sample_tile(noise, along[inside] - centre, height[inside], grain)
        colour[inside] = picture[:, None] * tint
        colour[inside[(from_side > half_w - 0.05) | (from_top > half_h - 0.05)]] = rim
    return colour


def _sky(rng: np.random.Generator, noise: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """(P, 3) colours of sky and skyline for directions (P, 3)."""
    zenith = (np.array([0.30, 0.50, 0.80]) * rng.uniform(0.6, 1.15)).astype(np.float32)
    horizon = np.clip(np.array([0.80, 0.85, 0.92]) * rng.uniform(0.7, 1.1) + rng.normal(0, 0.04, 3), 0, 1)
    horizon = horizon.astype(np.float32)
    up = rays[:, 1]
    colour = horizon + np.clip(up * 2.2, 0.0, 1.0)[:, None] * (zenith - horizon)
    slant = np.maximum(up, 0.03)
    clouds = _sample_tile(noise, rays[:, 0] / slant, rays[:, 2] / slant, 12.0)
    cover = np.clip(clouds * 1.8 - 0.8, 0, 1) * np.clip(up * 8, 0, 1)
    colour += (0.95 - colour) * cover[:, None]
    # A far skyline of trees or houses, as high as a function of the heading.
    heading = np.arctan2(rays[:, 0], rays[:, 2])
    steps = rng.random(64, dtype=np.float32)
    position = heading * np.float32(rng.uniform(12, 40))
    low = np.floor(position).astype(np.int32)
    ridge = steps[low & 63]
    if rng.random() < 0.5:
        ridge = ridge + (position - low) * (steps[(low + 1) & 63] - ridge)
    tone = np.array([0.25, 0.34, 0.24] if rng.random() < 0.5 else [0.46, 0.44, 0.44], np.float32)
    ground = np.flatnonzero(up < 0.03 + 0.16 * ridge)
    grain = 0.7 + 0.5 * _sample_tile(noise, heading[ground], up[ground], 300.0)
    colour[ground] = grain[:, None] * tone
    return colour


def _clutter(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Flat shapes that have nothing to do with the scene: distractors for the network."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(0, 4) if rng.random() < 0.4 else 0):
        colour = rng.uniform(0.05, 0.8, 3)
        colour = tuple(float(c) for c in 0.5 * (colour + colour.mean()))
        centre = rng.uniform(0, 1, 2) * [width, 0.75 * height]
        angle, reach = rng.uniform(0, 6.28), rng.uniform(0.04, 0.2) * height
        kind = rng.integers(3)
        if kind == 0:
            corners = centre + reach * rng.normal(0, 0.8, (rng.integers(3, 6), 2))
            cv2.fillPoly(image, [np.round(corners).astype(np.int32)], colour, cv2.LINE_AA)
        elif kind == 1:
            cv2.circle(image, (int(centre[0]), int(centre[1])), int(0.6 * reach), colour, -1, cv2.LINE_AA)
        else:
            end = centre + 3.0 * reach * np.array([np.cos(angle), np.sin(angle)])
            start, end = ((int(p[0]), int(p[1])) for p in (centre, end))
            cv2.line(image, start, end, colour, max(1, int(0.15 * reach)), cv2.LINE_AA)
    return image
