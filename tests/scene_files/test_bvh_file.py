import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mmhier.scene_files.bvh_file import read_bvh, write_bvh
from mmhier.scene_files.motion import camera_to_world

MILLIMETRE = 1e-3


def about(path):
    """What the text beside a file says: the body's note and the other lines by name."""
    note, *lines = path.with_name(f'{path.name}.txt').read_text().splitlines()
    return note, dict(line.split(': ', 1) for line in lines)


def joints_in_metres(path, body, scale=100.0):
    """(T, J, 3) in the body's order of joints; a file lists them depth first."""
    bvh = read_bvh(path)
    return bvh.joints()[:, [bvh.names.index(name) for name in body.joint_names]] / scale


def expected_joints(path, motion, posed):
    camera = np.array(json.loads(about(path)[1]['camera_position']))
    return camera_to_world(posed(motion)[1]) + camera


@pytest.mark.parametrize(('origin', 'scale'), [('floor', 100.0), ('camera', 1.0)])
def test_round_trip(open_layer, make_motion, posed, tmp_path, origin, scale):
    motion = make_motion(open_layer, range(4, 24))
    [path] = write_bvh(tmp_path / 'clip.bvh', [motion], origin, scale)
    bvh = read_bvh(path)
    parents = {name: bvh.names[parent] for name, parent in zip(bvh.names[1:], bvh.parents[1:])}
    names = open_layer.joint_names
    assert parents == {names[k]: names[parent] for k, parent in enumerate(open_layer.parents) if k}
    assert bvh.frame_time == pytest.approx(1 / 25)
    found = joints_in_metres(path, open_layer, scale)
    assert np.abs(found - expected_joints(path, motion, posed)).max() < 0.05 * MILLIMETRE


def test_another_reader_finds_the_same_joints(small_layer, make_motion, posed, tmp_path):
    """The package ``bvh`` parses, the joints are chained here by the definition of the format."""
    library = pytest.importorskip('bvh')
    motion = make_motion(small_layer, range(5))
    [path] = write_bvh(tmp_path / 'clip.bvh', [motion])
    file = library.Bvh(path.read_text())
    expected = expected_joints(path, motion, posed)
    names = file.get_joints_names()
    assert sorted(names) == sorted(small_layer.joint_names)
    assert (file.nframes, file.frame_time) == (5, pytest.approx(0.04))
    for frame in range(5):
        world = {}
        for name in names:
            local = np.eye(4)
            local[:3, 3] = file.joint_offset(name)
            for channel in file.joint_channels(name):
                value = file.frame_joint_channel(frame, name, channel)
                local = local @ elementary(channel, value)
            parent = file.joint_parent(name)
            world[name] = (world[parent.name] if parent is not None else np.eye(4)) @ local
        found = np.stack([world[name][:3, 3] for name in small_layer.joint_names]) / 100
        assert np.abs(found - expected[frame]).max() < 0.05 * MILLIMETRE


def elementary(channel, value):
    matrix = np.eye(4)
    axis = 'XYZ'.index(channel[0])
    if channel.endswith('position'):
        matrix[axis, 3] = value
        return matrix
    first, second = (axis + 1) % 3, (axis + 2) % 3
    cosine, sine = math.cos(math.radians(value)), math.sin(math.radians(value))
    matrix[[first, second], [first, second]] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def test_convention_zero_channels_are_the_rest_pose(open_layer, make_motion, tmp_path):
    motion = make_motion(open_layer, [0])
    [path] = write_bvh(tmp_path / 'clip.bvh', [motion])
    bvh = read_bvh(path)
    rest = {bvh.names[0]: np.zeros(3)}
    for name, parent, offset in zip(bvh.names[1:], bvh.parents[1:], bvh.offsets[1:]):
        rest[name] = rest[bvh.names[parent]] + offset
    assert rest['head'][1] > 50 and rest['left_ankle'][1] < -70
    assert rest['left_wrist'][0] > 50 and rest['right_wrist'][0] < -50
    assert rest['left_foot'][2] > rest['left_ankle'][2] + 5
    assert '\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n' in path.read_text()


def test_end_sites_reach_the_skin(open_layer, make_motion, tmp_path):
    motion = make_motion(open_layer, [0])
    [path] = write_bvh(tmp_path / 'clip.bvh', [motion])
    lines = path.read_text().splitlines()
    ends = [index for index, line in enumerate(lines) if line.strip() == 'End Site']
    assert len(ends) == 5
    lengths = [np.linalg.norm([float(v) for v in lines[index + 2].split()[1:]]) for index in ends]
    # Toes, hands and the head: 2 to 35 cm from the last joint.
    assert all(2 < length < 35 for length in lengths)


def test_angles_do_not_jump(small_layer, make_motion, tmp_path):
    motion = make_motion(small_layer, range(60))
    turns = np.linspace(0, 4 * np.pi, 60)
    motion.rotations[:] = np.eye(3)
    motion.rotations[:, 0, 0, 0] = motion.rotations[:, 0, 2, 2] = np.cos(turns)
    motion.rotations[:, 0, 0, 2] = np.sin(turns)
    motion.rotations[:, 0, 2, 0] = -np.sin(turns)
    [path] = write_bvh(tmp_path / 'clip.bvh', [motion])
    rows = np.array([line.split() for line in path.read_text().splitlines()[-60:]], float)
    assert np.abs(np.diff(rows, axis=0)).max() < 13
    assert np.ptp(rows[:, 5]) == pytest.approx(720, abs=0.01)


def test_ninety_degrees(small_layer, make_motion, tmp_path, posed, recwarn):
    motion = make_motion(small_layer, [0])
    motion.rotations[0, 3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    [path] = write_bvh(tmp_path / 'clip.bvh', [motion])
    found = joints_in_metres(path, small_layer)
    assert np.abs(found - expected_joints(path, motion, posed)).max() < 0.05 * MILLIMETRE
    assert not [warning for warning in recwarn if 'imbal' in str(warning.message)]


def test_a_file_for_each_person(small_layer, chain_layer, make_motion, posed, tmp_path):
    motions = [
        make_motion(small_layer, [3, 4, 8], 'person_0'),
        make_motion(chain_layer, [5, 6], 'person_2', 1),
    ]
    paths = write_bvh(tmp_path / 'clip.bvh', motions)
    assert [path.name for path in paths] == ['clip-person_0.bvh', 'clip-person_2.bvh']
    assert len(list(tmp_path.iterdir())) == 4
    for path, motion in zip(paths, motions):
        joints = joints_in_metres(path, motion.body_model)
        seen = joints[motion.frame_numbers - motion.frame_numbers[0]]
        assert np.abs(seen - expected_joints(path, motion, posed)).max() < 0.05 * MILLIMETRE
        note, lines = about(path)
        assert note.startswith('Body model: ') and 'Licence: ' in note
        assert int(lines['first_frame']) == motion.frame_numbers[0]
        assert float(lines['units_per_metre']) == 100.0
    assert len(read_bvh(paths[0]).positions) == 6


def test_a_variable_rate_is_resampled_and_that_is_said(small_layer, make_motion, posed, tmp_path, caplog):
    times = np.concatenate([np.arange(12) / 30, 0.4 + np.arange(12) / 10])
    motion = replace(make_motion(small_layer, range(24)), fps=120 / 7, times_s=times)
    [path] = write_bvh(tmp_path / 'clip.bvh', [motion], 'camera', 1.0)
    assert 'resampled from a variable frame rate, 17.143 per second on average, to 30.0' in caplog.text
    assert 'resampled' in path.with_name('clip.bvh.txt').read_text()
    bvh = read_bvh(path)
    assert bvh.frame_time == pytest.approx(1 / 30, abs=1e-6) and len(bvh.positions) == 46
    rows = np.round(times * 30).astype(int)
    _, joints = posed(motion)
    order = [small_layer.joint_names.index(name) for name in bvh.names]
    np.testing.assert_allclose(bvh.joints()[rows], camera_to_world(joints[:, order]), atol=1e-3)


def test_reader_takes_other_orders_of_channels(tmp_path):
    path = tmp_path / 'other.bvh'
    path.write_text(
        'HIERARCHY\nROOT hips\n{\nOFFSET 1 2 3\nCHANNELS 6 XPOSITION YPOSITION ZPOSITION XROTATION YROTATION '
        'ZROTATION\nJOINT knee\n{\nOFFSET 0 -1 0\nCHANNELS 3 Zrotation Yrotation Xrotation\nEnd Site\n{\n'
        'OFFSET 0 -1 0\n}\n}\n}\nMOTION\nFrames: 1\nFrame Time: 0.1\n5 6 7 90 0 90 0 0 0\n'
    )
    bvh = read_bvh(path)
    # R = Rx Ry Rz: -y goes to +x about z, which turning about x leaves alone.
    np.testing.assert_allclose(bvh.joints(), [[[5, 6, 7], [6, 6, 7]]], atol=1e-12)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (('HIERARCHY', 'HIERARCHIE'), 'does not begin with HIERARCHY'),
        (('Frames: 3', 'Frames: 4'), '225 numbers for 4 frames of 75 channels'),
        (('Frames: 3', 'Frames: three'), 'three'),
        (('Zrotation', 'Wrotation'), 'channel Wrotation'),
        (('OFFSET', 'OFSET'), '"OFSET" in the hierarchy'),
        (('}\nMOTION', '\nMOTION'), 'not one closed tree'),
    ],
)
def test_files_that_are_not_whole_are_refused(small_layer, make_motion, tmp_path, change, message):
    [path] = write_bvh(tmp_path / 'clip.bvh', [make_motion(small_layer, range(3))])
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError, match=f'clip.bvh is not a whole BVH file .*{message}'):
        read_bvh(path)


def test_cut_files_are_refused(small_layer, make_motion, tmp_path):
    [path] = write_bvh(tmp_path / 'clip.bvh', [make_motion(small_layer, range(3))])
    content = path.read_bytes()
    for size in (0, 9, 60, content.index(b'MOTION') + 4, content.index(b'Frames') + 3, len(content) - 40):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match='is not a whole BVH file'):
            read_bvh(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nobody\.bvh'):
        read_bvh(tmp_path / 'nobody.bvh')
