import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES
from mmhier.body_models.smplx import SMPLX
from mmhier.datasets.synthetic.appearance import sample_outfit
from mmhier.datasets.synthetic.camera import Camera
from mmhier.datasets.synthetic.generator import generate, image_stream
from mmhier.datasets.synthetic.human_data_format import HUMAN_SHAPES, PARAMETER_SHAPES
from mmhier.datasets.synthetic.people import BodyKit
from mmhier.datasets.synthetic.poses import Pose
from mmhier.datasets.synthetic.props import make_box
from mmhier.datasets.synthetic.rendering import draw_scene, render_image
from mmhier.datasets.synthetic.scene import MIN_HAND_SHARE, SCENE_STYLES, Scene, sample_scene
from mmhier.datasets.synthetic.whole_body_annotation import WholeBodyKit, part_boxes
from mmhier.rasterizer import project

SIZE = (240, 320)


@pytest.fixture(scope='module')
def kit(wholebody_folder):
    from mmhier.body_models.open_wholebody import load_open_wholebody, open_wholebody_path

    return BodyKit(load_open_wholebody(wholebody_folder / open_wholebody_path().name))


@pytest.fixture(scope='module')
def whole(kit):
    return WholeBodyKit(kit)


@pytest.fixture(scope='module')
def rendered(kit, whole):
    """Annotations of some images."""
    images = [
        render_image(image_stream(1, 'train', i), kit, SIZE, SCENE_STYLES['varied'], whole) for i in range(8)
    ]
    return [(image, K, one) for image, K, annotations in images for one in annotations]


def t_pose(kit, yaw=np.pi, place=(0.0, 0.0, 3.0)):
    pose = Pose(np.zeros((55, 3)), np.broadcast_to(np.eye(3), (55, 3, 3)).copy(), 'stand')
    outfit = sample_outfit(np.random.default_rng(0), kit.marks)
    return kit.build(pose, np.zeros(10), outfit, yaw).moved(np.asarray(place, np.float32))


def camera():
    intrinsics = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
    return Camera(np.diag([-1.0, -1.0, 1.0]), np.array([0.0, 1.0, 0.0]), intrinsics, (240, 320))


def boxes(kit, whole, person, *props):
    view = camera()
    return part_boxes(0, draw_scene(Scene(view, [person], list(props), 3.0), kit), whole)


def test_points_are_those_of_the_layer(kit, rendered):
    layer = SMPLX(kit.model, add_hand_means=True)
    assert len(rendered) > 8
    batch = {
        name: torch.tensor(np.stack([one.smpl[name] for _, _, one in rendered]), dtype=torch.float32)
        for name in PARAMETER_SHAPES
    }
    joints = layer(**batch).joints.numpy()
    found = np.stack([one.smpl['keypoints3d'] for _, _, one in rendered])
    np.testing.assert_allclose(found[..., :3], joints, atol=2e-5)
    for (_, K, one), points in zip(rendered, joints, strict=True):
        pixels = points @ K.T
        np.testing.assert_allclose(
            one.smpl['keypoints2d'][:, :2], pixels[:, :2] / pixels[:, 2:], rtol=1e-4, atol=0.02
        )
        assert {name: np.shape(one.smpl[name]) for name in one.smpl} == {
            name: shape for name, shape in HUMAN_SHAPES.items() if name != 'K'
        }


def test_clothes_do_not_cover_hands_and_the_render_mesh_is_the_body(kit):
    person = t_pose(kit)
    bare = np.concatenate([kit.model.parts['left_hand'], kit.model.parts['right_hand']])
    turned = kit.model.v_template[bare] * [-1.0, 1.0, -1.0]
    found = person.vertices[bare] - person.transl
    # But for the wrist, where sleeves may end.
    assert np.quantile(np.linalg.norm(found - turned, axis=1), 0.8) < 1e-4


def test_boxes_hold_hands_and_face(kit, whole):
    person = t_pose(kit)
    found = boxes(kit, whole, person)
    screen = project(camera().to_camera(person.joints), camera().intrinsics)[:, :2]
    for side, rows in (('left', slice(25, 40)), ('right', slice(40, 55))):
        x, y, w, h, seen = found[f'{side}_hand_box']
        assert seen == 1
        inside = (screen[rows] > [x - 1, y - 1]) & (screen[rows] < [x + w + 1, y + h + 1])
        assert inside.all()
        assert 14 < w < 24 and 5 < h < 14  # a hand of 18 cm at 3 m
    x, y, w, h, seen = found['face_box']
    nose = joint_set('coco17').index('nose')
    at = project(camera().to_camera(person.coco17), camera().intrinsics)[nose]
    assert seen == 1 and x < at[0] < x + w and y < at[1] < y + h and 10 < w < 18 and 10 < h < 20


def test_hidden_parts_have_no_box(kit, whole):
    person = t_pose(kit)
    behind = boxes(kit, whole, t_pose(kit, yaw=0.0))
    assert not behind['face_box'].any() and behind['left_hand_box'][4] == 1
    hand = person.joints[SMPLX_JOINT_NAMES.index('left_middle1')]
    board = make_box(hand - [0, 0, 0.5], np.array([0.6, 0.6, 0.02]), 0.0, np.zeros((3, 3)))
    covered = boxes(kit, whole, person, board)
    assert not covered['left_hand_box'].any() and covered['right_hand_box'][4] == 1
    # From the knuckles on, as seen by the camera, a tenth nearer.
    place = [np.sign(hand[0]) * (0.9 * abs(hand[0]) + 0.3), 1.0 + 0.9 * (hand[1] - 1.0), 0.9 * hand[2]]
    half = make_box(np.array(place), np.array([0.6, 0.6, 0.02]), 0.0, np.zeros((3, 3)))
    part, full = (boxes(kit, whole, person, *props)['left_hand_box'] for props in ((half,), ()))
    assert 0 < part[2] < 0.8 * full[2]


def test_boxes_lie_in_the_image(rendered):
    seen = 0
    for _, _, one in rendered:
        for name in ('left_hand_box', 'right_hand_box', 'face_box'):
            x, y, w, h, known = one.smpl[name]
            assert known in (0, 1) and x >= -0.5 and y >= -0.5
            assert x + w <= SIZE[1] - 0.5 and y + h <= SIZE[0] - 0.5
            seen += int(known)
    assert seen > len(rendered)


def test_main_people_show_hands_that_are_large_enough(kit):
    large = 0
    for index in range(16):
        scene = sample_scene(image_stream(0, 'train', index), kit, SIZE, SCENE_STYLES['simple'])
        person, view = scene.people[0], scene.camera
        sizes = []
        for rows in ([20, *range(25, 40)], [21, *range(40, 55)]):
            x, y, depth = project(view.to_camera(person.joints[rows]), view.intrinsics).T
            inside = (x > 0) & (x < SIZE[1]) & (y > 0) & (y < SIZE[0])
            sizes.append(view.intrinsics[0, 0] * 0.18 / depth.mean() * inside.all())
        large += max(sizes) > 0.97 * MIN_HAND_SHARE * SIZE[0]
    assert large >= 13


def test_same_stream_same_image(kit, whole, rendered):
    again, _, annotations = render_image(
        image_stream(1, 'train', 0), kit, SIZE, SCENE_STYLES['varied'], whole
    )
    np.testing.assert_array_equal(again, rendered[0][0])
    for name, value in annotations[0].smpl.items():
        np.testing.assert_array_equal(value, rendered[0][2].smpl[name])


def test_human_data(wholebody_folder, tmp_path, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(wholebody_folder))
    out = tmp_path / 'people'
    arguments = dict(seed=2, image_size_wh=(96, 96), whole_body=True, workers=1, progress=False)
    assert generate(out, 3, 0, **arguments)
    assert sorted(path.name for path in (out / 'annotations').iterdir()) == [
        'human_data_train.npz', 'human_data_val.npz', 'person_keypoints_train.json',
        'person_keypoints_val.json',
    ]  # fmt: skip
    with np.load(out / 'annotations' / 'human_data_val.npz', allow_pickle=True) as file:
        assert file['smplx'].item()['body_pose'].shape == (0, 21, 3)
    with np.load(out / 'annotations' / 'human_data_train.npz', allow_pickle=True) as file:
        count = len(file['image_path'])
        assert count >= 3 and file['__data_len__'] == count
        assert all((out / path).is_file() for path in file['image_path'])
        assert file['keypoints2d_smplx'].shape == (count, 144, 3)
        assert file['keypoints3d_smplx'].shape == (count, 144, 4)
        assert file['keypoints2d_smplx_mask'].shape == (144,)
        for part in ('lhand', 'rhand', 'face'):
            assert file[f'{part}_bbox_xywh'].shape == (count, 5)
        assert file['bbox_xywh'].shape == (count, 5)
        smplx, meta, misc = (file[name].item() for name in ('smplx', 'meta', 'misc'))
        assert {name: array.shape[1:] for name, array in smplx.items()} == PARAMETER_SHAPES
        assert set(meta['height']) == {96} and meta['focal_length'].shape == (count, 2)
        assert misc['body_model'] == 'open-wholebody' and misc['licence'].startswith('CC0')
        pixels = file['keypoints3d_smplx'][..., :2] / file['keypoints3d_smplx'][..., 2:3]
        pixels = pixels * meta['focal_length'][:, None] + meta['principal_point'][:, None]
        np.testing.assert_allclose(pixels, file['keypoints2d_smplx'][..., :2], rtol=1e-4, atol=0.02)
    assert not generate(out, 3, 0, **arguments)
