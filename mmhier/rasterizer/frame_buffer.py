"""A small z-buffer rasteriser: triangles in, per-pixel triangle and barycentric weights out.

Its loops are those of ``kernel.cpp`` where there is a compiler (:mod:`mmhier.rasterizer.native`), else NumPy
enumerates the pixels of all bounding boxes of an object's triangles at once; every bit of the two is the
same. Shading happens afterwards, once per visible pixel (:meth:`FrameBuffer.gather`), or at the vertices
(:meth:`FrameBuffer.average`).

Convention:
    Camera frame as in OpenCV: x right, y down, z forward, metres. Pixel (column c, row r) covers
    [c, c + 1) x [r, r + 1) and is sampled at its centre (c + 0.5, r + 0.5). Triangles are counter-clockwise
    seen from outside; the ones that face away are not drawn. Triangles reaching in front of ``NEAR`` are
    dropped. Interpolation is perspective-correct; ``inverse_depth`` is 1/z, zero where nothing is drawn.
"""

from typing import NamedTuple

import numpy as np

from mmhier.rasterizer import native

NEAR = 0.05
BACKGROUND = -1
# Triangles are drawn in chunks of about this many candidate pixels to bound memory.
CHUNK = 1_500_000


class Surface(NamedTuple):
    """Visible pixels of one object: flat pixel indices (P,), triangles (P,), barycentric weights (3, P)."""

    pixels: np.ndarray
    faces: np.ndarray
    barycentric: np.ndarray

    def interpolate(self, faces: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Interpolate per-vertex ``values`` (N, C) of a mesh with triangles ``faces`` (F, 3); (P, C)."""
        corners = faces[self.faces]
        total = values[corners[:, 0]] * self.barycentric[0][:, None]
        total += values[corners[:, 1]] * self.barycentric[1][:, None]
        total += values[corners[:, 2]] * self.barycentric[2][:, None]
        return total


class FrameBuffer:
    """Depth, object and triangle of every pixel.

    Args:
        image_hw: height and width in pixels.
    """

    def __init__(self, image_hw: tuple[int, int]) -> None:
        self.image_hw = image_hw
        size = image_hw[0] * image_hw[1]
        self.inverse_depth = np.zeros(size, np.float32)
        self.objects = np.full(size, BACKGROUND, np.int16)
        self.faces = np.zeros(size, np.int32)
        self.barycentric = np.zeros((3, size), np.float32)

    def draw(self, screen: np.ndarray, faces: np.ndarray, number: int) -> None:
        """Draw a mesh.

        Args:
            screen: (N, 3) vertices as pixel x, pixel y and depth z in metres.
            faces: (F, 3) triangles.
            number: written into ``objects`` where the mesh is the front-most surface.
        """
        screen = np.ascontiguousarray(screen, np.float32)
        faces = checked_faces(faces, len(screen))
        if (library := native.library()) is None:
            self._draw_with_numpy(screen, faces, number)
            return
        library.mmhier_draw(
            screen, faces, len(faces), *self.image_hw, NEAR, number, self.inverse_depth, self.objects,
            self.faces, self.barycentric,
        )  # fmt: skip

    def _draw_with_numpy(self, screen: np.ndarray, faces: np.ndarray, number: int) -> None:
        height, width = self.image_hw
        x, y, z = (screen[:, axis][faces.T] for axis in range(3))
        # Rows grow downwards, so a triangle that is counter-clockwise in space has negative area here.
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        index = np.flatnonzero((area < -1e-6) & (np.minimum(np.minimum(z[0], z[1]), z[2]) > NEAR))
        x, y, z, area = x[:, index], y[:, index], z[:, index], area[index]
        low_x, high_x = _pixel_range(x, width)
        low_y, high_y = _pixel_range(y, height)
        drawn = np.flatnonzero((high_x >= low_x) & (high_y >= low_y))
        if not len(drawn):
            return
        index, x, y, area = index[drawn], x[:, drawn], y[:, drawn], area[drawn]
        inverse_z, low_x, low_y = 1.0 / z[:, drawn], low_x[drawn], low_y[drawn]
        columns = high_x[drawn] - low_x + 1
        counts = columns * (high_y[drawn] - low_y + 1)
        chunks = np.cumsum(counts, dtype=np.int64) // CHUNK
        for chunk in np.unique(chunks):
            part = np.flatnonzero(chunks == chunk)
            corner = np.stack([low_x[part], low_y[part]])
            self._draw_triangles(
                x[:, part],
                y[:, part],
                inverse_z[:, part],
                area[part],
                corner,
                columns[part],
                counts[part],
                index[part],
                number,
            )

    def _draw_triangles(
        self,
        x: np.ndarray,
        y: np.ndarray,
        inverse_z: np.ndarray,
        area: np.ndarray,
        corner: np.ndarray,
        columns: np.ndarray,
        counts: np.ndarray,
        index: np.ndarray,
        number: int,
    ) -> None:
        """Draw triangles given by corner coordinates (3, T) over bounding boxes of ``counts`` pixels."""
        left, top = corner
        box_x, box_y = left.astype(np.float32) + np.float32(0.5), top.astype(np.float32) + np.float32(0.5)
        # Barycentric weight i is slope_x[i] * dx + slope_y[i] * dy + start[i], counted from the box corner.
        slope_x = (y[[1, 2]] - y[[2, 0]]) / area
        slope_y = (x[[2, 0]] - x[[1, 2]]) / area
        start = slope_x * (box_x - x[[1, 2]]) + slope_y * (box_y - y[[1, 2]])

        triangle = np.repeat(np.arange(len(index), dtype=np.int32), counts)
        begin = (np.cumsum(counts) - counts).astype(np.int32)
        offset = np.arange(len(triangle), dtype=np.int32) - begin[triangle]
        # The same as an integer division, but faster.
        row = ((offset + 0.5) * (1.0 / columns)[triangle]).astype(np.int32)
        column = offset - row * columns[triangle]
        dx, dy = column.astype(np.float32), row.astype(np.float32)
        weight0 = slope_x[0][triangle] * dx + slope_y[0][triangle] * dy + start[0][triangle]
        weight1 = slope_x[1][triangle] * dx + slope_y[1][triangle] * dy + start[1][triangle]
        inside = np.flatnonzero((weight0 >= 0) & (weight1 >= 0) & (weight0 + weight1 <= 1))
        triangle, weight0, weight1 = triangle[inside], weight0[inside], weight1[inside]
        near0 = weight0 * inverse_z[0][triangle]
        near1 = weight1 * inverse_z[1][triangle]
        near2 = (1.0 - weight0 - weight1) * inverse_z[2][triangle]
        inverse = near0 + near1 + near2
        pixel = (top[triangle] + row[inside]) * np.int32(self.image_hw[1]) + left[triangle] + column[inside]

        np.maximum.at(self.inverse_depth, pixel, inverse)
        front = np.flatnonzero(self.inverse_depth[pixel] == inverse)
        pixel, inverse = pixel[front], inverse[front]
        self.objects[pixel] = number
        self.faces[pixel] = index[triangle[front]]
        for corner_number, near in enumerate((near0, near1, near2)):
            self.barycentric[corner_number, pixel] = near[front] / inverse

    def gather(self, number: int) -> Surface:
        """Visible pixels of object ``number``."""
        pixels = np.flatnonzero(self.objects == number)
        return Surface(pixels, self.faces[pixels], self.barycentric[:, pixels])

    def average(self, faces: np.ndarray, colours: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
        """Interpolate colours and average squares of samples.

        Args:
            faces: (F, 3) triangles, the same for all objects.
            colours: (objects, N, 3) colours at the vertices of object 0, 1 ...
            factor: side of the squares; it divides the height and width.

        Returns:
            Colours (height / factor, width / factor, 3), weighted with the coverage, and the coverage
            (height / factor, width / factor), 0 to 1; float32.
        """
        height, width = self.image_hw
        small = (height // factor, width // factor)
        colours = np.ascontiguousarray(colours, np.float32)
        faces = checked_faces(faces, colours.shape[1])
        if (library := native.library()) is not None:
            mixed, cover = np.empty((*small, 3), np.float32), np.empty(small, np.float32)
            library.mmhier_average(
                self.objects, self.faces, self.barycentric, height, width, factor, faces, colours.shape[1],
                colours, mixed, cover,
            )  # fmt: skip
            return mixed, cover
        samples = np.zeros((len(self.objects), 3), np.float32)
        for number, own in enumerate(colours):
            surface = self.gather(number)
            samples[surface.pixels] = surface.interpolate(faces, own)
        covered = (self.objects >= 0).astype(np.float32).reshape(height, width)
        samples = samples.reshape(height, width, 3)
        mixed, cover = np.zeros((*small, 3), np.float32), np.zeros(small, np.float32)
        for row in range(factor):
            for column in range(factor):
                mixed += samples[row::factor, column::factor]
                cover += covered[row::factor, column::factor]
        return mixed / factor**2, cover / factor**2


def checked_faces(faces: np.ndarray, vertices: int | None) -> np.ndarray:
    """Triangles (F, 3) as the kernel takes them, which does not look where they point.

    Args:
        faces: (F, 3).
        vertices: How many the mesh has, if that is known.

    Raises:
        ValueError: If they are no triangles, or of another mesh.
    """
    faces = np.ascontiguousarray(faces, np.int64)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f'faces are {faces.shape}; expected (triangles, 3)')
    if vertices is not None and faces.size and not 0 <= faces.min() <= faces.max() < vertices:
        raise ValueError(
            f'faces name vertices {faces.min()} to {faces.max()}, but the mesh has {vertices}; '
            'are they of another body model?'
        )
    return faces


def _pixel_range(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel whose centre lies within corner coordinates (3, T), clipped to the image."""
    low = np.minimum(np.minimum(corners[0], corners[1]), corners[2])
    high = np.maximum(np.maximum(corners[0], corners[1]), corners[2])
    first = np.ceil(np.clip(low - 0.5, 0, size)).astype(np.int32)
    last = np.floor(np.clip(high - 0.5, -1, size - 1)).astype(np.int32)
    return first, last


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Project camera-frame points.

    Args:
        points: (..., 3) metres, z forward.
        intrinsics: (3, 3) matrix K with zero skew, pixels.

    Returns:
        (..., 3): pixel x, pixel y and depth z.
    """
    depth = points[..., 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    x = intrinsics[0, 0] * points[..., 0] / safe + intrinsics[0, 2]
    y = intrinsics[1, 1] * points[..., 1] / safe + intrinsics[1, 2]
    return np.stack([x, y, depth], axis=-1)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (N, 3) pointing outwards."""
    corner = [vertices[faces[:, i]] for i in range(3)]
    first, second = (corner[1] - corner[0]).T, (corner[2] - corner[0]).T
    total = np.empty((len(vertices), 3), np.float32)
    flat = faces.ravel()
    for axis in range(3):
        j, k = (axis + 1) % 3, (axis + 2) % 3
        normal = first[j] * second[k] - first[k] * second[j]
        total[:, axis] = np.bincount(flat, np.repeat(normal, 3), len(vertices))
    return total / np.maximum(np.sqrt((total**2) @ np.ones((3, 1), np.float32)), 1e-12)
