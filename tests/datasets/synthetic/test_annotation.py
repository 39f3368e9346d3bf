import numpy as np

from mmhier.body_models.smpl_file import COCO17_NAMES
from mmhier.datasets.synthetic.annotation import annotate, keypoint_visibility
from mmhier.datasets.synthetic.appearance import sample_outfit
from mmhier.datasets.synthetic.camera import Camera
from mmhier.datasets.synthetic.poses import Pose
from mmhier.datasets.synthetic.props import make_box
from mmhier.datasets.synthetic.rendering import draw_scene
from mmhier.datasets.synthetic.scene import Scene
from mmhier.rasterizer import project

FACING = np.pi  # a level camera looks along +z, so a body (facing its own +z) looks at it after half a turn


def level_camera(image_hw=(240, 240), focal=300.0, height=0.9):
    intrinsics = np.array([[focal, 0, (image_hw[1] - 1) / 2], [0, focal, (image_hw[0] - 1) / 2], [0, 0, 1]])
    return Camera(np.diag([-1.0, -1.0, 1.0]), np.array([0.0, height, 0.0]), intrinsics, image_hw)


def t_pose_person(kit, yaw=FACING, place=(0.0, 0.0, 3.0)):
    pose = Pose(np.zeros((24, 3)), np.broadcast_to(np.eye(3), (24, 3, 3)).copy(), 'stand')
    outfit = sample_outfit(np.random.default_rng(0), kit.marks)
    return kit.build(pose, np.zeros(10), outfit, yaw).moved(np.asarray(place, np.float32))


def visibility(kit, camera, people, props=(), number=0):
    buffer = draw_scene(Scene(camera, people, list(props), 3.0), kit)
    seen = keypoint_visibility(camera.to_camera(people[number].coco17), number, buffer, camera, kit)
    return dict(zip(COCO17_NAMES, seen.tolist()))


def wall(left, right, bottom, top, depth):
    """A thin board across the view between world coordinates."""
    centre = np.array([(left + right) / 2, (bottom + top) / 2, depth])
    return make_box(centre, np.array([right - left, top - bottom, 0.02]), 0.0, np.zeros((3, 3)))


def test_convention_left_of_the_body_is_right_in_the_image_when_facing_the_camera(kit):
    camera = level_camera()
    person = t_pose_person(kit)
    screen = project(camera.to_camera(person.coco17), camera.intrinsics)
    at = dict(zip(COCO17_NAMES, screen))
    assert at['left_wrist'][0] > at['left_shoulder'][0] > at['right_shoulder'][0] > at['right_wrist'][0]
    assert at['nose'][1] < at['left_hip'][1] < at['left_ankle'][1]
    # A point 1.2 m left of the axis (world +x), 0.3 m up, 3 m away.
    np.testing.assert_allclose(
        project(camera.to_camera(np.array([1.2, 1.2, 3.0])), camera.intrinsics), [119.5 - 120, 119.5 - 30, 3]
    )


def test_everything_is_seen_in_a_free_front_view(kit):
    found = visibility(kit, level_camera(), [t_pose_person(kit)])
    assert {name for name, value in found.items() if value != 2} <= {'left_ear', 'right_ear'}


def test_the_face_is_hidden_from_behind_and_one_side_from_the_side(kit):
    behind = visibility(kit, level_camera(), [t_pose_person(kit, yaw=0.0)])
    assert [behind[name] for name in ('nose', 'left_eye', 'right_eye')] == [1, 1, 1]
    assert [behind[name] for name in ('left_shoulder', 'right_hip', 'left_knee', 'right_ankle')] == [2] * 4
    # Turned so that the left side looks at the camera.
    side = visibility(kit, level_camera(), [t_pose_person(kit, yaw=FACING - np.pi / 2)])
    left_is_near = t_pose_person(kit, yaw=FACING - np.pi / 2)
    near, far = (
        ('left', 'right') if left_is_near.joints[16, 2] < left_is_near.joints[17, 2] else ('right', 'left')
    )
    assert [side[f'{near}_{part}'] for part in ('ear', 'hip', 'knee')] == [2, 2, 2]
    assert [side[f'{far}_{part}'] for part in ('eye', 'ear', 'hip', 'knee', 'shoulder')] == [1] * 5


def test_an_occluder_hides_exactly_what_is_behind_it(kit):
    person = t_pose_person(kit)
    # A board at half the distance covers, at 3 m, world x > 0.25 and heights of 1.1 m and more.
    board = wall(0.125, 2.0, 1.0, 3.0, depth=1.5)
    found = visibility(kit, level_camera(), [person], [board])
    world_left = 'left' if person.joints[16, 0] > 0 else 'right'
    hidden = {name for name, value in found.items() if value == 1} - {'left_ear', 'right_ear'}
    assert hidden == {f'{world_left}_elbow', f'{world_left}_wrist'}
    behind = visibility(kit, level_camera(), [person], [wall(0.125, 2.0, 1.0, 3.0, depth=4.5)])
    assert behind[f'{world_left}_elbow'] == behind[f'{world_left}_wrist'] == 2


def test_a_nearer_person_hides_a_farther_one(kit):
    front, back = t_pose_person(kit, place=(0, 0, 3.0)), t_pose_person(kit, place=(0, 0, 4.0))
    alone = visibility(kit, level_camera(), [back])
    both = visibility(kit, level_camera(), [back, front])
    assert sum(value == 2 for value in both.values()) < sum(value == 2 for value in alone.values())
    assert visibility(kit, level_camera(), [back, front], number=1) == visibility(
        kit, level_camera(), [front]
    )


def test_keypoints_outside_the_image_are_labelled_so(kit):
    camera = level_camera(image_hw=(120, 120))
    found = visibility(kit, camera, [t_pose_person(kit)])
    assert found['left_wrist'] == found['right_wrist'] == found['left_ankle'] == 0
    assert found['left_hip'] == 2
    annotation = annotate(
        0, t_pose_person(kit), draw_scene(Scene(camera, [t_pose_person(kit)], [], 3.0), kit), camera, kit
    )
    outside = annotation.keypoints[:, 2] == 0
    assert outside.any()
    assert not annotation.keypoints[outside].any()


def test_box_and_area_cover_the_visible_mask(kit):
    camera, person = level_camera(), t_pose_person(kit)
    free = annotate(0, person, draw_scene(Scene(camera, [person], [], 3.0), kit), camera, kit)
    screen = project(camera.to_camera(person.vertices), camera.intrinsics)
    x, y, w, h = free.bbox
    np.testing.assert_allclose([x, y], screen[:, :2].min(axis=0), atol=1.5)
    np.testing.assert_allclose([x + w - 1, y + h - 1], screen[:, :2].max(axis=0), atol=1.5)
    board = wall(-3.0, 3.0, -1.0, 0.9, depth=1.5)  # hides everything below 0.9 m
    upper = annotate(0, person, draw_scene(Scene(camera, [person], [board], 3.0), kit), camera, kit)
    assert upper.bbox[3] < 0.6 * h
    assert 0.3 * free.area < upper.area < 0.7 * free.area
    everything = wall(-3.0, 3.0, -1.0, 5.0, depth=1.5)
    assert (
        annotate(0, person, draw_scene(Scene(camera, [person], [everything], 3.0), kit), camera, kit) is None
    )
