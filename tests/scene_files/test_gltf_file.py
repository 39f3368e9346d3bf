import json
import os
import runpy
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmhier.scene_files.gltf_file import write_glb
from mmhier.scene_files.motion import camera_to_world, palette

pytest.importorskip('pygltflib')
Glb = runpy.run_path(str(Path(__file__).parents[1] / 'reference' / 'gltf.py'))['Glb']
MILLIMETRE = 1e-3


def document(path):
    content = path.read_bytes()
    magic, version, length = struct.unpack_from('<4sII', content)
    assert (magic, version, length) == (b'glTF', 2, len(content))
    size, kind = struct.unpack_from('<I4s', content, 12)
    assert kind == b'JSON'
    return json.loads(content[20 : 20 + size])


def differences(path, motion, expected, **options):
    """Largest distance of vertices and joints over the frames of a person, metres."""
    vertices, joints = expected
    glb = Glb(path)
    about = glb.document.asset.extras
    worst = np.zeros(2)
    for number, points, bones in zip(motion.frame_numbers, vertices, joints):
        found = glb.people((number - about['first_frame']) / about['fps'], **options)[motion.name]
        for k, (seen, wanted) in enumerate(zip(found, (points, bones))):
            moved = camera_to_world(wanted) + about['camera_position']
            worst[k] = max(worst[k], np.linalg.norm(seen - moved, axis=-1).max())
    return worst


@pytest.mark.parametrize('origin', ['floor', 'camera'])
def test_skinning_the_file_gives_the_open_body(open_layer, make_motion, posed, tmp_path, origin):
    motion = make_motion(open_layer, [3, 7, 20])
    path = write_glb(tmp_path / 'clip.glb', [motion], origin)
    # The open body has no pose correctives, so nothing is lost but float32's last digits.
    assert (differences(path, motion, posed(motion)) < 0.02 * MILLIMETRE).all()


def test_a_viewer_of_four_joints_per_vertex(open_layer, make_motion, posed, tmp_path):
    motion = make_motion(open_layer, [0, 9])
    path = write_glb(tmp_path / 'clip.glb', [motion])
    vertices, _ = differences(path, motion, posed(motion), sets=1)
    assert 0.1 * MILLIMETRE < vertices < 10 * MILLIMETRE


def test_what_is_lost_are_the_pose_correctives(small_layer, plain_layer, make_motion, posed, tmp_path):
    motion = make_motion(small_layer, [0, 1, 2])
    path = write_glb(tmp_path / 'clip.glb', [motion])
    assert (differences(path, motion, posed(motion, plain_layer)) < 0.02 * MILLIMETRE).all()
    vertices, joints = differences(path, motion, posed(motion))
    full, plain = posed(motion)[0], posed(motion, plain_layer)[0]
    correctives = np.linalg.norm(full - plain, axis=-1).max()
    assert vertices == pytest.approx(correctives, abs=0.02 * MILLIMETRE)
    assert vertices > 10 * MILLIMETRE
    assert joints < 0.02 * MILLIMETRE


def test_several_people_of_several_bodies(plain_layer, chain_layer, make_motion, posed, tmp_path):
    motions = [
        make_motion(plain_layer, range(10, 20), 'person_0', 0),
        make_motion(chain_layer, range(12, 15), 'person_7', 1),
        make_motion(plain_layer, [10, 13, 14, 19], 'person_8', 2),
    ]
    path = write_glb(tmp_path / 'clip.glb', motions)
    for motion in motions:
        assert (differences(path, motion, posed(motion)) < 0.02 * MILLIMETRE).all()
    gltf = document(path)
    assert [skin['name'] for skin in gltf['skins']] == ['person_0', 'person_7', 'person_8']
    first, other, third = (mesh['primitives'][0] for mesh in gltf['meshes'])
    shared = ('JOINTS_0', 'WEIGHTS_0')
    assert all(first['attributes'][name] == third['attributes'][name] for name in shared)
    assert first['indices'] == third['indices'] != other['indices']
    assert first['attributes']['POSITION'] != third['attributes']['POSITION']
    colours = [material['pbrMetallicRoughness']['baseColorFactor'][:3] for material in gltf['materials']]
    encoded = 1.055 * np.array(colours) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(encoded, palette(3), atol=1e-3)


def test_people_are_shown_where_they_were_seen(plain_layer, make_motion, tmp_path):
    motions = [
        make_motion(plain_layer, range(4, 14), 'always', 0),
        make_motion(plain_layer, [6, 7, 11], 'sometimes', 1),
    ]
    glb = Glb(write_glb(tmp_path / 'clip.glb', motions))
    for name, seen in (('always', set(range(4, 14))), ('sometimes', {6, 7, 11})):
        shown = set()
        for number in range(4, 14):
            vertices, _ = glb.people((number - 4) / 25.0)[name]
            shown |= {number} if np.ptp(vertices, axis=0).max() > 0.1 else set()
        assert shown == seen


def test_keys_are_at_the_frames_own_times(plain_layer, make_motion, posed, tmp_path):
    """Thirty frames per second, then ten; somebody comes and goes."""
    times = np.concatenate([np.arange(12) / 30, 0.4 + np.arange(12) / 10])
    motions = [
        replace(make_motion(plain_layer, frames, name, seed), fps=120 / 7, times_s=times)
        for seed, (name, frames) in enumerate({'always': range(1, 24), 'sometimes': [6, 7, 15]}.items())
    ]
    glb = Glb(write_glb(tmp_path / 'clip.glb', motions))
    shift = np.array(glb.document.asset.extras['camera_position'])
    assert glb.document.asset.extras['frame_rate'].startswith('variable')
    for motion in motions:
        vertices, _ = posed(motion)
        for number, points in zip(motion.frame_numbers.tolist(), vertices):
            found, _ = glb.people(times[number] - times[1])[motion.name]
            np.testing.assert_allclose(found, camera_to_world(points) + shift, atol=1e-4)
    for number in (5, 8, 14, 16):
        vertices, _ = glb.people(times[number] - times[1] + 1e-4)['sometimes']
        assert np.ptp(vertices, axis=0).max() < 1e-3


def test_a_still_picture_has_no_animation(plain_layer, make_motion, posed, tmp_path):
    motion = make_motion(plain_layer, [0])
    path = write_glb(tmp_path / 'still.glb', [motion], 'camera')
    glb = Glb(path)
    assert 'animations' not in document(path)
    expected = camera_to_world(posed(motion)[0][0])
    np.testing.assert_allclose(glb.people()['person_0'][0], expected, atol=0.02 * MILLIMETRE)


def test_viewers_without_animation_show_the_first_frame(plain_layer, make_motion, posed, tmp_path):
    motion = make_motion(plain_layer, [5, 9])
    glb = Glb(write_glb(tmp_path / 'clip.glb', [motion], 'camera'))
    expected = camera_to_world(posed(motion)[0][0])
    np.testing.assert_allclose(glb.people()['person_0'][0], expected, atol=0.02 * MILLIMETRE)


def test_the_file_says_what_it_is(open_layer, small_layer, make_motion, tmp_path):
    motions = [make_motion(open_layer, [2, 3], 'a'), make_motion(small_layer, [4], 'b')]
    path = write_glb(tmp_path / 'clip.glb', motions)
    gltf = document(path)
    assert 'mmhier open body. Licence: CC0-1.0' in gltf['asset']['copyright']
    assert 'not stated in the model file' in gltf['asset']['copyright']
    assert gltf['asset']['extras']['first_frame'] == 2
    joints = gltf['skins'][0]['joints']
    assert [gltf['nodes'][joint]['name'] for joint in joints] == list(open_layer.joint_names)
    betas = next(node['extras']['betas'] for node in gltf['nodes'] if node['name'] == 'a')
    np.testing.assert_allclose(betas, motions[0].betas, atol=1e-6)


def test_size_of_ten_seconds(open_layer, make_motion, tmp_path):
    path = write_glb(tmp_path / 'clip.glb', [make_motion(open_layer, range(300))])
    poses = 300 * (24 * 4 + 3 + 1) * 4
    mesh = open_layer.num_vertices * (3 + 3 + 4 + 4 + 2) * 4 + open_layer.faces.numel() * 2
    assert path.stat().st_size < poses + mesh + 32_000


def test_trimesh_opens_it(open_layer, make_motion, tmp_path):
    trimesh = pytest.importorskip('trimesh')
    path = write_glb(tmp_path / 'clip.glb', [make_motion(open_layer, [0, 1], name) for name in 'ab'])
    scene = trimesh.load_scene(path)
    assert len(scene.geometry) == 2
    for mesh in scene.geometry.values():
        assert mesh.faces.shape == tuple(open_layer.faces.shape)
        assert np.ptp(mesh.vertices[:, 1]) > 1.4


def test_the_validator_of_khronos_finds_no_fault(open_layer, chain_layer, make_motion, tmp_path):
    """Runs where Node.js finds its package: `npm install gltf-validator`, NODE_PATH=.../node_modules."""
    node = shutil.which('node')
    if node is None:
        pytest.skip('needs Node.js')
    motions = [
        make_motion(open_layer, range(5), 'a'),
        make_motion(chain_layer, [1, 3], 'b', 1),
        make_motion(open_layer, [2], 'c', 2),
    ]
    path = write_glb(tmp_path / 'clip.glb', motions)
    script = (
        'let v; try { v = require("gltf-validator") } catch { process.exit(77) }'
        'v.validateBytes(new Uint8Array(require("fs").readFileSync(process.argv[1])))'
        '.then(report => console.log(JSON.stringify(report.issues)))'
    )
    result = subprocess.run([node, '-e', script, str(path)], capture_output=True, text=True, env=os.environ)
    if result.returncode == 77:
        pytest.skip('needs the npm package gltf-validator')
    issues = json.loads(result.stdout)
    assert issues['numErrors'] == issues['numWarnings'] == 0, issues['messages']


def test_an_error_leaves_the_old_file(plain_layer, make_motion, tmp_path, monkeypatch):
    path = write_glb(tmp_path / 'clip.glb', [make_motion(plain_layer, [0])])
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full_disk)
    with pytest.raises(OSError, match='No space left'):
        write_glb(path, [make_motion(plain_layer, [0, 1])])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['clip.glb']
