"""Meshes of single people as OBJ (text) and PLY (binary, little-endian).

Letters: V vertices, F triangles.

Convention:
    Vertices come in the camera frame (x right, y down, z forward, metres) and are written in the world of
    :mod:`mmhier.scene_files.motion` with the camera as origin: metres, right-handed, x right, y up, z towards
    the viewer. Triangles are counter-clockwise seen from outside. Comments at the top of the file say so.
"""

from pathlib import Path

import numpy as np

from mmhier.atomic import new_file
from mmhier.scene_files.motion import camera_to_world, generator


def write_obj(path: str | Path, vertices: np.ndarray, faces: np.ndarray, note: str = '') -> Path:
    """Write a mesh as OBJ.

    Args:
        path: the file.
        vertices: (V, 3) metres, camera frame.
        faces: (F, 3) triangles.
        note: body model and licence, :func:`mmhier.scene_files.motion.body_note`.

    Returns:
        ``path``.

    Raises:
        ValueError: if the arrays do not fit each other or are not finite.
    """
    points, triangles = _checked(path, vertices, faces)
    lines = [f'# {line}' for line in _header(note)]
    lines += [f'v {x:.6f} {y:.6f} {z:.6f}' for x, y, z in points.tolist()]
    lines += [f'f {a} {b} {c}' for a, b, c in (triangles + 1).tolist()]
    with new_file(path) as temporary:
        temporary.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return Path(path)


def write_ply(
    path: str | Path,
    vertices: np.ndarray,
    faces: np.ndarray,
    note: str = '',
    colour: np.ndarray | None = None,
) -> Path:
    """Write a mesh as PLY.

    Args:
        path: the file.
        vertices: (V, 3) metres, camera frame.
        faces: (F, 3) triangles.
        note: see :func:`write_obj`.
        colour: (3,) RGB, 0 to 1, of all vertices; none by default.

    Returns:
        ``path``.

    Raises:
        ValueError: as for :func:`write_obj`.
    """
    points, triangles = _checked(path, vertices, faces)
    fields = [('xyz', '<f4', 3)] + ([('rgb', 'u1', 3)] if colour is not None else [])
    vertex_table = np.zeros(len(points), fields)
    vertex_table['xyz'] = points
    properties = [f'property float {axis}' for axis in 'xyz']
    if colour is not None:
        vertex_table['rgb'] = np.round(np.asarray(colour) * 255.0)
        properties += [f'property uchar {name}' for name in ('red', 'green', 'blue')]
    face_table = np.zeros(len(triangles), [('count', 'u1'), ('indices', '<i4', 3)])
    face_table['count'], face_table['indices'] = 3, triangles
    header = [
        'ply',
        'format binary_little_endian 1.0',
        *(f'comment {line}' for line in _header(note)),
        f'element vertex {len(points)}',
        *properties,
        f'element face {len(triangles)}',
        'property list uchar int vertex_indices',
        'end_header',
    ]
    with new_file(path) as temporary:
        text = ('\n'.join(header) + '\n').encode('ascii', 'replace')
        temporary.write_bytes(text + vertex_table.tobytes() + face_table.tobytes())
    return Path(path)


def _header(note: str) -> list[str]:
    frame = 'metres, right-handed, x right, y up, z towards the viewer; the camera is the origin'
    return [generator(), frame, *note.splitlines()]


def _checked(path: str | Path, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
        raise ValueError(f'{path}: vertices of shape {vertices.shape}: expected (V, 3), finite.')
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f'{path}: faces of shape {faces.shape}: expected (F, 3).')
    if faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise ValueError(
            f'{path}: faces name vertices {faces.min()} to {faces.max()}, but there are {len(vertices)}; are '
            'they of another body model?'
        )
    return camera_to_world(vertices), faces
