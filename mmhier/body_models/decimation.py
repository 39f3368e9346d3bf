"""A lighter mesh for drawing: short edges are collapsed onto one of their ends.

The kept vertices are a subset of the original ones, so that shape components and skinning weights carry
over by indexing. Collapses that would fold the surface over or break its topology are skipped.
"""

import heapq

import numpy as np


def decimate(vertices: np.ndarray, faces: np.ndarray, num_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """Collapse the shortest edges until ``num_vertices`` are left.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) triangles.
        num_vertices: how many vertices to keep (more are kept when no legal collapse is left).

    Returns:
        Indices of the kept vertices (R,) and triangles among them (F', 3).
    """
    points = [tuple(point) for point in vertices.tolist()]
    triangles: list[tuple[int, int, int] | None] = [tuple(face) for face in faces.tolist()]
    around: dict[int, set[int]] = {}
    for index, triangle in enumerate(triangles):
        for vertex in triangle:
            around.setdefault(vertex, set()).add(index)
    border = _border_vertices(faces)
    heap = [(_length(points[a], points[b]), a, b) for a, b in _edges(faces)]
    heapq.heapify(heap)
    while heap and len(around) > num_vertices:
        _, a, b = heapq.heappop(heap)
        if a not in around or b not in around:
            continue
        shared = around[a] & around[b]
        if not shared:
            continue
        for gone, kept in ((a, b), (b, a)):
            if gone not in border and _may_collapse(points, triangles, around, gone, kept, shared):
                _collapse(triangles, around, gone, kept, shared)
                for neighbour in _neighbours(triangles, around, kept):
                    heapq.heappush(heap, (_length(points[kept], points[neighbour]), kept, neighbour))
                break
    kept_vertices = np.asarray(sorted(around), np.int64)
    number = np.full(len(vertices), -1, np.int64)
    number[kept_vertices] = np.arange(len(kept_vertices))
    return kept_vertices, number[np.asarray([triangle for triangle in triangles if triangle], np.int64)]


def _edges(faces: np.ndarray) -> list[tuple[int, int]]:
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return [tuple(pair) for pair in np.unique(pairs, axis=0).tolist()]


def _border_vertices(faces: np.ndarray) -> set[int]:
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, count = np.unique(pairs, axis=0, return_counts=True)
    return set(unique[count == 1].ravel().tolist())


def _length(p: tuple, q: tuple) -> float:
    return (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2


def _neighbours(triangles: list, around: dict, vertex: int) -> list[int]:
    return sorted({v for index in around[vertex] for v in triangles[index]} - {vertex})


def _may_collapse(points: list, triangles: list, around: dict, gone: int, kept: int, shared: set) -> bool:
    common = set(_neighbours(triangles, around, gone)) & set(_neighbours(triangles, around, kept))
    if len(shared) != 2 or len(common) != 2:
        return False
    for index in around[gone] - shared:
        before = [points[v] for v in triangles[index]]
        after = [points[kept] if v == gone else points[v] for v in triangles[index]]
        n, m = _normal(*before), _normal(*after)
        dot = n[0] * m[0] + n[1] * m[1] + n[2] * m[2]
        # Turning by more than 45 degrees would fold the surface or flatten a sharp feature.
        if dot <= 0.7 * ((n[0] ** 2 + n[1] ** 2 + n[2] ** 2) * (m[0] ** 2 + m[1] ** 2 + m[2] ** 2)) ** 0.5:
            return False
    return True


def _normal(p: tuple, q: tuple, r: tuple) -> tuple[float, float, float]:
    ax, ay, az = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    bx, by, bz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def _collapse(triangles: list, around: dict, gone: int, kept: int, shared: set) -> None:
    for index in shared:
        for vertex in triangles[index]:
            if vertex != gone:
                around[vertex].discard(index)
        triangles[index] = None
    for index in around.pop(gone) - shared:
        triangles[index] = tuple(kept if vertex == gone else vertex for vertex in triangles[index])
        around[kept].add(index)
