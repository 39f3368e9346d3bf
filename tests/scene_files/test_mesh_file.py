import os
from pathlib import Path

import numpy as np
import pytest

from mmhier.scene_files.mesh_file import write_obj, write_ply
from mmhier.scene_files.motion import palette

trimesh = pytest.importorskip('trimesh')

VERTICES = np.array([[0.0, 0.0, 5.0], [0.1234564, 0.0, 5.0], [0.0, -0.2, 5.0], [0.0, 0.0, 5.3]], np.float32)
FACES = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
IN_WORLD = VERTICES * [1.0, -1.0, -1.0]


@pytest.mark.parametrize('write', [write_obj, write_ply])
def test_read_back(tmp_path, write):
    path = write(tmp_path / 'new' / f'mesh.{write.__name__[-3:]}', VERTICES, FACES, 'Body: x\nLicence: y')
    mesh = trimesh.load_mesh(path, process=False)
    np.testing.assert_allclose(mesh.vertices, IN_WORLD, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.volume > 0
    content = path.read_bytes()
    assert all(words in content for words in (b'Licence: y\n', b'metres, right-handed', b'mmhier'))
    assert os.listdir(path.parent) == [path.name]


def test_a_whole_body_faces_outwards(open_layer, tmp_path):
    vertices = open_layer.v_template.numpy() * [1.0, -1.0, -1.0] + [0.0, 0.0, 4.0]
    for write, name in ((write_obj, 'body.obj'), (write_ply, 'body.ply')):
        mesh = trimesh.load_mesh(write(tmp_path / name, vertices, open_layer.faces.numpy()), process=False)
        assert len(mesh.vertices) == open_layer.num_vertices
        assert 0.04 < mesh.volume < 0.12
        head = mesh.vertices[mesh.vertices[:, 1].argmax()]
        np.testing.assert_allclose(head, vertices[vertices[:, 1].argmin()] * [1, -1, -1], atol=1e-6)


def test_ply_colour(tmp_path):
    path = write_ply(tmp_path / 'mesh.ply', VERTICES, FACES, colour=palette(1)[0])
    mesh = trimesh.load_mesh(path, process=False)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], np.tile([[137, 181, 222]], (4, 1)))


@pytest.mark.parametrize('write', [write_obj, write_ply])
def test_nothing_at_all(tmp_path, write):
    path = write(tmp_path / 'mesh', np.zeros((0, 3)), np.zeros((0, 3), int))
    assert path.is_file()


@pytest.mark.parametrize(
    ('vertices', 'faces', 'message'),
    [
        (VERTICES[None], FACES, r'mesh.obj: vertices of shape \(1, 4, 3\)'),
        (VERTICES * np.nan, FACES, 'finite'),
        (VERTICES, FACES[:, :2], r'faces of shape \(4, 2\)'),
        (VERTICES[:3], FACES, 'faces name vertices 0 to 3, but there are 3'),
    ],
)
@pytest.mark.parametrize('write', [write_obj, write_ply])
def test_wrong_arrays_are_refused(tmp_path, write, vertices, faces, message):
    with pytest.raises(ValueError, match=message):
        write(Path(tmp_path) / 'mesh.obj', vertices, faces)
    assert os.listdir(tmp_path) == []
