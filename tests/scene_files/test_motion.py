from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smpl_file import body_from_arrays
from mmhier.geometry.array_rotations import axis_angle_to_matrix
from mmhier.scene_files.motion import Motion, body_note, camera_to_world, make_scene, world_joints


def standing(body, frames=(0,), turn=0.0, transl=(0.5, 0.3, 4.0), name='person_0'):
    """Upright in the image and facing the camera, then turned to the person's left (about the vertical)."""
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(frames), body.num_joints, 1, 1))
    rotations[:, 0] = np.diag([1.0, -1.0, -1.0]) @ axis_angle_to_matrix(np.array([0.0, turn, 0.0]))
    places = np.tile(np.float32(transl), (len(frames), 1))
    return Motion(25.0, np.array(frames), rotations, places, np.zeros(1, np.float32), name, body)


def test_convention_world(open_layer):
    turn = 0.7
    actor = make_scene([standing(open_layer, turn=turn)], 'camera').actors[0]
    # Turned to the left by the viewer's measure: about +y, which points up.
    np.testing.assert_allclose(
        actor.rotations[0, 0], [0.0, np.sin(turn / 2), 0.0, np.cos(turn / 2)], atol=1e-6
    )
    # The open body's pelvis is its origin to some hundredths of a millimetre.
    np.testing.assert_allclose(actor.root_positions[0], [0.5, -0.3, -4.0], atol=1e-4)
    joints = dict(zip(open_layer.joint_names, world_joints(actor)[0]))
    assert joints['head'][1] > joints['pelvis'][1] > joints['left_ankle'][1]
    # Who faces the camera has the left at the image's right, which is +x; turning brings it away from it.
    assert joints['left_wrist'][0] > joints['right_wrist'][0]
    assert joints['left_wrist'][2] < joints['right_wrist'][2]


def test_camera_to_world_by_hand():
    np.testing.assert_array_equal(camera_to_world([[1.0, 2.0, 3.0]]), [[1.0, -2.0, -3.0]])


def test_the_floor_is_under_the_feet(open_layer):
    motions = [
        standing(open_layer, (0, 1), transl=(0.5, 0.3, 4.0)),
        standing(open_layer, (0,), transl=(1.5, 0.3, 5.0), name='b'),
    ]
    scene = make_scene(motions)
    height = open_layer.v_template[:, 1].min().item()
    for actor in scene.actors:
        lowest = actor.rest_vertices[:, 1].min() + actor.root_positions[:, 1] - actor.rest_joints[0, 1]
        np.testing.assert_allclose(lowest, 0.0, atol=1e-6)
    # The camera is 0.3 m above the pelvises, the median pelvis is that of the first person.
    np.testing.assert_allclose(scene.camera_position, [-0.5, 0.3 - height, 4.0], atol=1e-4)


def test_joints_are_those_of_the_layer(small_layer, make_motion, posed):
    motion = make_motion(small_layer, range(6))
    scene = make_scene([motion])
    expected = camera_to_world(posed(motion)[1]) + scene.camera_position
    np.testing.assert_allclose(world_joints(scene.actors[0]), expected, atol=1e-5)


def test_quaternions_do_not_flip(small_layer):
    frames = tuple(range(40))
    turns = [standing(small_layer, (k,), turn=0.3 * k) for k in frames]
    motion = replace(
        turns[0],
        frame_numbers=np.array(frames),
        rotations=np.concatenate([turn.rotations for turn in turns]),
        transl=np.zeros((40, 3), np.float32),
    )
    quaternions = make_scene([motion]).actors[0].rotations
    assert ((quaternions[1:] * quaternions[:-1]).sum(axis=-1) > 0.9).all()
    assert (quaternions[:, 0, 3] < -0.5).any()
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=-1), 1.0, atol=1e-6)


def test_frames_in_between_are_interpolated(small_layer, make_motion):
    whole = make_motion(small_layer, [2, 3, 6])
    scene = make_scene([whole])
    actor = scene.actors[0]
    rotations, positions, step = scene.evenly(actor)
    assert rotations.shape == (5, 24, 4) and step == 1 / 25
    np.testing.assert_allclose(rotations[[0, 1, 4]], actor.rotations, atol=1e-6)
    np.testing.assert_allclose(positions[[0, 1, 4]], actor.root_positions)
    np.testing.assert_allclose(positions[2], actor.root_positions[1:].T @ [2 / 3, 1 / 3])
    full = Rotation.from_quat(rotations[1, 5]).inv() * Rotation.from_quat(rotations[4, 5])
    part = Rotation.from_quat(rotations[1, 5]).inv() * Rotation.from_quat(rotations[2, 5])
    np.testing.assert_allclose(part.as_rotvec(), full.as_rotvec() / 3, atol=1e-6)


# Thirty frames per second, then ten: seconds of 24 frames.
VARIABLE = np.concatenate([np.arange(12) / 30, 0.4 + np.arange(12) / 10])


def test_a_variable_rate_is_made_even(small_layer, make_motion):
    motion = replace(make_motion(small_layer, range(2, 24)), times_s=VARIABLE, fps=120 / 7)
    scene = make_scene([motion])
    actor = scene.actors[0]
    rotations, positions, step = scene.evenly(actor)
    assert step == pytest.approx(1 / 30) and len(positions) == 43 + 1 == len(rotations)
    seconds = VARIABLE[2] + step * np.arange(44)
    for axis in range(3):
        known = np.interp(seconds, VARIABLE[2:], actor.root_positions[:, axis])
        np.testing.assert_allclose(positions[:, axis], known, atol=1e-4)
    np.testing.assert_allclose(positions[:11], actor.root_positions[:11], atol=1e-4)
    np.testing.assert_allclose(rotations[10:43:3], actor.rotations[10:21], atol=1e-3)
    np.testing.assert_allclose(positions[-1], actor.root_positions[-1], atol=1e-6)


def test_somebody_on_one_frame_of_a_variable_rate(small_layer, make_motion):
    motion = replace(make_motion(small_layer, [5]), times_s=VARIABLE)
    scene = make_scene([motion])
    rotations, positions, _ = scene.evenly(scene.actors[0])
    assert rotations.shape == (1, 24, 4) and positions.shape == (1, 3)


def test_visibility(small_layer, make_motion):
    motions = [make_motion(small_layer, [2, 3, 6], 'a'), make_motion(small_layer, range(1, 9), 'b')]
    scene = make_scene(motions)
    assert scene.frame_range == (1, 8)
    frames, visible = scene.visibility(scene.actors[0])
    assert dict(zip(frames.tolist(), visible.tolist())) == {1: False, 2: True, 4: False, 6: True, 7: False}
    frames, visible = scene.visibility(scene.actors[1])
    assert (frames.tolist(), visible.tolist()) == ([1], [True])


def test_influences(small_layer):
    motion = standing(small_layer)
    actor = make_scene([motion]).actors[0]
    weights = small_layer.weights.numpy()
    joints, kept = actor.influences(4)
    dense = np.zeros_like(weights)
    np.add.at(dense, (np.arange(len(weights))[:, None], joints), kept)
    np.testing.assert_allclose(dense, weights, atol=1e-6)
    joints, kept = actor.influences(2)
    assert joints.shape == kept.shape == (90, 2)
    np.testing.assert_allclose(kept.sum(axis=1), 1.0, atol=1e-6)
    assert (joints[:, 0] == weights.argmax(axis=1)).all()


def test_shape_is_in_the_mesh(small_layer, make_motion):
    motion = make_motion(small_layer, [0])
    actor = make_scene([motion]).actors[0]
    betas = torch.as_tensor(motion.betas)[None]
    np.testing.assert_allclose(actor.rest_vertices, small_layer(betas=betas).vertices[0], atol=1e-6)
    np.testing.assert_allclose(actor.rest_joints, small_layer.rest_joints(betas)[0], atol=1e-6)


def test_note(open_layer, small_data, random_body):
    assert body_note(open_layer).startswith('Body model: mmhier open body. Licence: CC0-1.0')
    assert body_note(SMPL(small_data)).endswith('Licence: not stated in the model file')
    smpl = SMPL(body_from_arrays(random_body(6890, posedirs=False), 'SMPL_NEUTRAL.npz'))
    assert 'non-commercial' in body_note(smpl)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(fps=0.0), 'person_0: fps=0.0'),
        (dict(frame_numbers=np.array([1, 1, 2])), 'frame_numbers.*increasing'),
        (dict(frame_numbers=np.array([-1, 1, 2])), 'frame_numbers'),
        (dict(times_s=np.array([0.0, 0.1])), 'times_s of shape'),
        (dict(times_s=np.array([0.0, 0.1, 0.1, 0.3, 0.4, 0.5, 0.6])), 'times_s .*increasing'),
        (dict(times_s=np.array([0.0, 0.1, np.nan, 0.3, 0.4, 0.5, 0.6])), 'times_s .*increasing'),
        (dict(transl=np.zeros((2, 3))), r'transl of shape \(2, 3\): expected \(3, 3\)'),
        (dict(transl=np.full((3, 3), np.nan)), 'transl is not finite'),
        (dict(rotations=np.zeros((3, 23, 3, 3))), r'rotations of shape .* expected \(3, 24, 3, 3\)'),
        (dict(rotations=np.tile(-np.eye(3), (3, 24, 1, 1))), 'person_0: rotations are no rotation matrices'),
        (dict(betas=np.zeros((1, 10))), r'betas of shape \(1, 10\)'),
    ],
)
def test_wrong_motions_are_refused(small_layer, make_motion, change, message):
    motion = make_motion(small_layer, range(3))
    with pytest.raises(ValueError, match=message):
        replace(motion, **change)


def test_no_frames_are_refused(small_layer, make_motion):
    motion = make_motion(small_layer, range(3))
    empty = dict(frame_numbers=np.zeros(0, int), rotations=np.zeros((0, 24, 3, 3)), transl=np.zeros((0, 3)))
    with pytest.raises(ValueError, match='expected some'):
        replace(motion, **empty)


def test_wrong_scenes_are_refused(small_layer, make_motion):
    motion = make_motion(small_layer, [0])
    with pytest.raises(ValueError, match='nobody'):
        make_scene([])
    with pytest.raises(ValueError, match="origin='table'"):
        make_scene([motion], 'table')
    with pytest.raises(ValueError, match='same name: person_0, person_0'):
        make_scene([motion, motion])
    with pytest.raises(ValueError, match=r'differ in fps: \[25.0, 30.0\]'):
        make_scene([motion, replace(motion, fps=30.0, name='b')])
