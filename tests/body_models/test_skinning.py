import numpy as np
import pytest

from mmhier.body_models.skinning import forward_kinematics, pose_body
from mmhier.body_models.smpl_file import BodyModelData
from mmhier.geometry.array_rotations import axis_angle_to_matrix


@pytest.fixture
def arm():
    """Two bones along x: root at the origin, elbow at x = 1, one vertex at each joint and one at x = 2."""
    return BodyModelData(
        v_template=np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32),
        shapedirs=np.array([[[0], [0], [0]], [[1], [0], [0]], [[2], [0], [0]]], np.float32),
        weights=np.array([[1, 0], [0.5, 0.5], [0, 1]], np.float32),
        J_regressor=np.array([[1, 0, 0], [0, 1, 0]], np.float32),
        parents=np.array([-1, 0]),
        faces=np.array([[0, 1, 2]]),
    )


def test_convention_child_rotates_in_the_frame_of_its_parent(arm):
    # Root 90 degrees about z (x -> y), elbow 90 degrees about its own y (x -> -z).
    posed = pose_body(
        arm, np.array([[0, 0, np.pi / 2], [0, np.pi / 2, 0]]), transl=np.array([10.0, 0.0, 0.0])
    )
    np.testing.assert_allclose(posed.joints, [[10, 0, 0], [10, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(posed.vertices[2], [10, 1, -1], atol=1e-6)


def test_shape_moves_joints_and_vertices(arm):
    # betas 0.5 stretches x by 1.5; the elbow then turns x into y.
    posed = pose_body(arm, np.array([[0, 0, 0], [0, 0, np.pi / 2]]), betas=np.array([0.5]))
    np.testing.assert_allclose(posed.joints[1], [1.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(posed.vertices[2], [1.5, 1.5, 0], atol=1e-6)


def test_pose_correctives_are_added_in_rest_space(arm):
    posedirs = np.zeros((3, 3, 9), np.float32)
    posedirs[2, 0, 1] = 1.0  # vertex 2 moves along x by the matrix entry (0, 1) of joint 1
    model = BodyModelData(**{**vars(arm), 'posedirs': posedirs})
    posed = pose_body(model, np.array([[0, 0, 0], [0, 0, np.pi / 2]]))
    # Entry (0, 1) of a quarter turn about z is -1: the vertex sits at x = 1, that is, on the elbow.
    np.testing.assert_allclose(posed.vertices[2], [1, 0, 0], atol=1e-6)


def test_batch_equals_singles_and_matrices_equal_axis_angle(arm):
    pose = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    batch = pose_body(arm, pose)
    matrices = pose_body(arm, axis_angle_to_matrix(pose))
    for index in range(4):
        np.testing.assert_allclose(batch.vertices[index], pose_body(arm, pose[index]).vertices, atol=1e-6)
    np.testing.assert_allclose(batch.vertices, matrices.vertices, atol=1e-6)
    assert batch.vertices.dtype == np.float32


def test_vertex_subset(arm):
    pose = np.random.default_rng(1).normal(size=(2, 3))
    full = pose_body(arm, pose, betas=np.array([0.3]))
    part = pose_body(arm, pose, betas=np.array([0.3]), vertex_indices=np.array([2, 0]))
    np.testing.assert_allclose(part.vertices, full.vertices[[2, 0]], atol=1e-6)


def test_wrong_number_of_joints_is_named(arm):
    with pytest.raises(ValueError, match=r'\(3, 3\).*2, 3'):
        pose_body(arm, np.zeros((3, 3)))


def test_rigid_motion_of_the_root_moves_everything(arm):
    turn = axis_angle_to_matrix(np.array([0.3, -0.8, 0.5], np.float32))
    still = np.stack([np.eye(3), axis_angle_to_matrix(np.array([0.2, 0.1, -0.7]))])[None].astype(np.float32)
    moved = still.copy()
    moved[:, 0] = turn
    rest = arm.joint_template[None]
    world, joints = forward_kinematics(still, rest, arm.parents)
    world_moved, joints_moved = forward_kinematics(moved, rest, arm.parents)
    np.testing.assert_allclose(world_moved, turn @ world, atol=1e-6)
    np.testing.assert_allclose(joints_moved, joints @ turn.T, atol=1e-6)
