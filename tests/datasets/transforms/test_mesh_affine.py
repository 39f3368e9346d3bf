"""The crop: annotation and picture stay together, mirroring twice is nothing, and it is HMR2.0's crop."""

import itertools
import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.datasets.transforms.mesh_affine import (
    MeshAffine,
    crop_keypoints,
    crop_matrix,
    from_reduced,
    mirror_pose,
    turn_orientation,
    turn_points,
)
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.mesh_sample import SMPL_LAYOUT, SMPLX_LAYOUT

JOINTS, FLIP, MARGIN = SMPL_LAYOUT.joints, SMPL_LAYOUT.joint_flip, SMPL_LAYOUT.margin
CROP_SIZE, INPUT_SIZE_WH = SMPL_LAYOUT.crop_size, SMPL_LAYOUT.input_size_wh
hmr2_data = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'hmr2_data.py')))


def results_of(image, keypoints, center, size, rotation=0.0, flip=False):
    """What the pipeline hands to the warp."""
    rng = np.random.default_rng(5)
    return dict(
        img=image,
        ori_shape=image.shape[:2],
        keypoints_2d=keypoints.astype(np.float32),
        keypoints_3d=np.hstack([rng.normal(size=(44, 3)), np.ones((44, 1))]).astype(np.float32),
        global_orient=rng.normal(size=(1, 3)).astype(np.float32),
        body_pose=rng.normal(0, 0.3, (23, 3)).astype(np.float32),
        has_body_pose=1.0,
        box_center=np.array(center, np.float32),
        box_size=size,
        box_rotation=rotation,
        flip=flip,
    )


@pytest.mark.parametrize(
    ('rotation', 'flip', 'size'), list(itertools.product((0.0, 37.0, -55.0), (False, True), (150.0, 260.0)))
)
def test_dots_drawn_at_joints_are_found_at_the_joints_of_the_crop(rotation, flip, size):
    rng = np.random.default_rng(3)
    keypoints = np.zeros((44, 3))
    chosen = JOINTS.indices(['nose', 'left_wrist', 'right_knee'])
    center = np.array([170.0, 130.0])
    found = 0
    for number in chosen:
        point = center + rng.uniform(-0.3, 0.3, 2) * size
        image = np.zeros((260, 340, 3), np.uint8)
        cv2.circle(image, tuple(round(value) for value in point), 4, (255, 255, 255), -1)
        keypoints[number] = *point.round(), 1
        made = MeshAffine().transform(results_of(image, keypoints, center, size, rotation, flip))
        ys, xs = np.nonzero(made['img'][..., 0] > 128)
        if not len(xs):
            continue
        seen = np.array([xs.mean() + MARGIN, ys.mean()]) / CROP_SIZE - 0.5
        joint = FLIP[number] if flip else number
        placed = made['keypoints_2d'][joint]
        assert placed[2] == 1
        assert np.abs(seen - placed[:2]).max() * CROP_SIZE < 1.5
        found += 1
    assert found == len(chosen)


def test_points_in_space_follow_the_picture():
    """Seen from far away, joints in 3-D move in the crop as those in 2-D do."""
    rng = np.random.default_rng(0)
    points = np.hstack([rng.normal(0, 0.4, (44, 3)), np.ones((44, 1))]).astype(np.float32)
    center, per_metre = np.array([100.0, 90.0]), 60.0
    keypoints = np.hstack([center + per_metre * points[:, :2], np.ones((44, 1))])
    for rotation, flip in ((25.0, False), (-40.0, True), (0.0, True)):
        size = 200.0
        matrix = crop_matrix(center, size, rotation, 320 if flip else None)
        flat = crop_keypoints(keypoints, matrix, flip)
        turned = turn_points(points, rotation, flip)
        np.testing.assert_allclose(turned[:, :2] * per_metre / size, flat[:, :2], atol=1e-5)


def test_mirroring_twice_is_nothing():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(44, 4)).astype(np.float32)
    pose = rng.normal(size=(23, 3)).astype(np.float32)
    assert not np.allclose(turn_points(points, 0, True), points)
    np.testing.assert_array_equal(turn_points(turn_points(points, 0, True), 0, True), points)
    once = mirror_pose(dict(body_pose=pose))
    assert not np.allclose(once['body_pose'], pose)
    np.testing.assert_array_equal(mirror_pose(once)['body_pose'], pose)
    keypoints = np.hstack([rng.uniform(0, 200, (44, 2)), np.ones((44, 1))])
    image = rng.integers(0, 256, (200, 301, 3), np.uint8)
    once = MeshAffine().transform(results_of(image, keypoints, (140, 90), 150.0, flip=True))
    mirrored = np.hstack([300 - keypoints[:, :1], keypoints[:, 1:]])[FLIP]
    twice = MeshAffine().transform(results_of(image[:, ::-1].copy(), mirrored, (160, 90), 150.0, flip=False))
    np.testing.assert_allclose(once['keypoints_2d'], twice['keypoints_2d'], atol=1e-6)
    assert np.abs(once['img'].astype(int) - twice['img']).max() <= 2


def whole_body(rng):
    """Fields of a whole body that the warp changes."""
    fields = {
        name: rng.uniform(20, 180, shape).astype(np.float32)
        for name, shape in SMPLX_LAYOUT.annotation_shapes.items()
    }
    low = rng.uniform(20, 100, (3, 2))
    boxes = np.hstack([low, low + rng.uniform(5, 60, (3, 2)), np.ones((3, 1))])
    fields |= dict.fromkeys(SMPLX_LAYOUT.known_by, 1.0) | dict(layout=SMPLX_LAYOUT, has_left_hand_pose=0.0)
    return fields | dict(part_boxes=boxes.astype(np.float32))


def test_a_mirrored_whole_body_has_its_hands_exchanged():
    """Mirroring picture and annotation, then mirroring the crop, is cutting out the first picture."""
    rng = np.random.default_rng(8)
    image = rng.integers(0, 256, (200, 301, 3), np.uint8)
    fields = whole_body(rng)
    box = dict(box_size=150.0, box_rotation=0.0, ori_shape=(200, 301))
    once = MeshAffine().transform(fields | box | dict(img=image, flip=True, box_center=np.array([140.0, 90])))
    assert once['img'].shape == (512, 384, 3)
    assert (once['has_left_hand_pose'], once['has_right_hand_pose']) == (1, 0)
    mirrored = fields | mirror_pose(fields, SMPLX_LAYOUT)
    mirrored['global_orient'] = fields['global_orient'] * np.float32([1, -1, -1])
    for name in ('keypoints_2d', 'fitted_keypoints_2d'):
        mirrored[name] = (fields[name] * [-1, 1, 1] + [300, 0, 0])[SMPLX_LAYOUT.joint_flip]
    mirrored['keypoints_3d'] = (fields['keypoints_3d'] * [-1, 1, 1, 1])[SMPLX_LAYOUT.joint_flip]
    left, top, right, bottom, known = fields['part_boxes'][[1, 0, 2]].T
    mirrored['part_boxes'] = np.stack([300 - right, top, 300 - left, bottom, known], 1)
    twice = MeshAffine().transform(
        mirrored | box | dict(img=image[:, ::-1].copy(), flip=False, box_center=np.array([160.0, 90]))
    )
    compared = (*SMPLX_LAYOUT.keypoint_fields, *SMPLX_LAYOUT.rotations, 'global_orient')
    for name in compared:
        np.testing.assert_allclose(once[name], twice[name], atol=2e-5, err_msg=name)
    for flag in SMPLX_LAYOUT.known_by:
        assert once[flag] == twice[flag], flag
    back = mirror_pose(mirrored, SMPLX_LAYOUT)
    for name in back:
        np.testing.assert_array_equal(back[name], fields[name], err_msg=name)


def test_a_turned_box_surrounds_its_turned_corners():
    fields = whole_body(np.random.default_rng(9))
    fields['part_boxes'][1, 4] = 0
    box = dict(box_size=200.0, box_center=np.array([100.0, 90]), box_rotation=90.0, flip=False)
    made = MeshAffine().transform(
        fields | box | dict(img=np.zeros((200, 200, 3), np.uint8), ori_shape=(200, 200))
    )
    left, top, right, bottom, _ = fields['part_boxes'][0]
    # Counter-clockwise: what was to the right is up.
    wanted = [top - 90, 100 - right, bottom - 90, 100 - left]
    np.testing.assert_allclose(made['part_boxes'][0], [*(np.array(wanted) / 200), 1], atol=1e-5)
    assert not made['part_boxes'][1].any()


def test_convention_orientation_turns_with_the_picture():
    """Turning the body and turning its joints is the same."""
    rng = np.random.default_rng(2)
    orientation = rng.normal(size=(1, 3)).astype(np.float32)
    rest = np.hstack([rng.normal(size=(44, 3)), np.ones((44, 1))]).astype(np.float32)
    before, after = (
        axis_angle_to_matrix(torch.from_numpy(vector[0])).numpy()
        for vector in (orientation, turn_orientation(orientation, 35.0))
    )
    posed, turned = rest.copy(), rest.copy()
    posed[:, :3], turned[:, :3] = rest[:, :3] @ before.T, rest[:, :3] @ after.T
    np.testing.assert_allclose(turn_points(posed, 35.0, False), turned, atol=1e-5)


def test_convention_turned_counter_clockwise():
    """A point to the right of the centre goes up in the crop."""
    placed = crop_matrix(np.array([100.0, 100.0]), 256.0, 30.0) @ [150.0, 100.0, 1.0]
    np.testing.assert_allclose(
        placed, [128 + 50 * np.cos(np.pi / 6), 128 - 50 * np.sin(np.pi / 6)], atol=1e-9
    )


def test_mirrored_body_has_mirrored_parts():
    pose = np.zeros((23, 3), np.float32)
    names = JOINT_SETS['smpl24'].names[1:]
    pose[names.index('left_elbow')] = 0.1, 0.2, 0.3
    mirrored = mirror_pose(dict(body_pose=pose))['body_pose']
    np.testing.assert_allclose(mirrored[names.index('right_elbow')], [0.1, -0.2, -0.3])
    assert np.count_nonzero(mirrored) == 3


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('rotation', [0.0, 21.5])
def test_same_as_the_official_steps(flip, rotation):
    rng = np.random.default_rng(4)
    image = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (401, 300), interpolation=cv2.INTER_CUBIC)
    person = dict(
        keypoints_2d=np.hstack([rng.uniform(50, 250, (44, 2)), rng.uniform(0.3, 1, (44, 1))]),
        keypoints_3d=np.hstack([rng.normal(size=(44, 3)), np.ones((44, 1))]),
        center=np.array([190.0, 150.0]),
        scale=np.array([0.6, 0.9]),
        body_pose=rng.normal(0, 0.5, 72),
        betas=rng.normal(size=10),
        has_body_pose=np.array(1.0),
        has_betas=np.array(1.0),
    )
    augmentation = dict(shift=[0.01, -0.02], scale=1.15, rotation=rotation, flip=flip, colour=[1, 1, 1])
    item = {'jpg': image[..., ::-1], 'mask': np.ones(image.shape[:2], bool), 'data.pyd': person}
    official = hmr2_data.make_example(item, augmentation)
    center = person['center'] + 180 * np.array(augmentation['shift'])
    ours = results_of(image, person['keypoints_2d'], center, 180 * 1.15, rotation, flip)
    ours['keypoints_3d'] = person['keypoints_3d'].astype(np.float32)
    ours['global_orient'] = person['body_pose'][None, :3].astype(np.float32)
    ours['body_pose'] = person['body_pose'][3:].reshape(23, 3).astype(np.float32)
    ours = MeshAffine().transform(ours)
    for name in ('keypoints_2d', 'keypoints_3d', 'global_orient', 'body_pose'):
        np.testing.assert_allclose(ours[name].ravel(), official[name].ravel(), atol=2e-5, err_msg=name)
    seen = official['img'] * hmr2_data.STD[:, None, None] + hmr2_data.MEAN[:, None, None]
    difference = np.abs(ours['img'][..., ::-1].transpose(2, 0, 1) - seen[:, :, MARGIN:-MARGIN])
    # The official one rounds its matrix to float32, and the library positions to parts of a pixel.
    assert difference.max() <= 4
    assert difference.mean() < 0.1


def test_crop_without_pose_keeps_zeros():
    image = np.zeros((100, 100, 3), np.uint8)
    results = results_of(image, np.zeros((44, 3)), (50, 50), 80.0, 30.0, True)
    results |= dict(global_orient=np.zeros((1, 3), np.float32), has_body_pose=0.0)
    made = MeshAffine().transform(results)
    assert not made['global_orient'].any()
    assert made['img'].shape == (*INPUT_SIZE_WH[::-1], 3)
    assert not made['keypoints_2d'].any()


def test_reduced_image_gives_the_crop_of_the_whole_one():
    rng = np.random.default_rng(6)
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    half = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
    matrix = crop_matrix(np.array([300.0, 240.0]), 400.0, 10.0)
    whole = cv2.warpAffine(image, matrix, (256, 256))
    reduced = cv2.warpAffine(half, from_reduced(matrix, 2), (256, 256))
    assert np.abs(whole.astype(int) - reduced)[8:-8, 8:-8].mean() < 1
