"""MSCOCO, MPII, UBody, Human3.6M, 3DPW, AGORA and EHF from small files in their layouts."""

import json
import os
import pickle

import cv2
import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.body_models.model_directory import load_body_model
from mmhier.datasets.mesh import WholeBodySet
from mmhier.datasets.mesh.agora_people import EHF_ROTATION
from mmhier.datasets.mesh.whole_body_annotation import JOINTS
from mmhier.testing.benchmark_files import write_small_body
from mmhier.testing.smplx_file import write_smplx_npz

RNG = np.random.default_rng
IMAGE = dict(id=7, width=320, height=240, file_name='a.jpg')
CAMERA = dict(focal=[500.0, 510.0], princpt=[160.0, 120.0])
KEYS = {
    'global_orient': 'root_pose', 'body_pose': 'body_pose', 'left_hand_pose': 'lhand_pose',
    'jaw_pose': 'jaw_pose', 'betas': 'shape', 'expression': 'expr', 'transl': 'trans',
}  # fmt: skip
SIZES = dict(root_pose=3, body_pose=63, lhand_pose=45, rhand_pose=45, jaw_pose=3, shape=10, expr=10)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def coco(annotations, **image):
    """A COCO file; all people are in one image."""
    common = dict(image_id=7, bbox=[100, 50, 80, 120])
    people = [common | dict(id=number) | person for number, person in enumerate(annotations)]
    return dict(images=[IMAGE | image], annotations=people)


def param(seed=0, **changes):
    values = {name: RNG(seed).normal(0, 0.2, size).tolist() for name, size in SIZES.items()}
    return values | dict(trans=[0.1, 0.2, 4.0]) | changes


def whole(seed=0, **changes):
    """An annotation of COCO-WholeBody."""
    rng = RNG(seed)

    def points(count):
        return np.concatenate([rng.uniform(20, 200, (count, 2)), np.ones((count, 1))], 1).ravel().tolist()

    counts = dict(keypoints=17, foot_kpts=6, face_kpts=68, lefthand_kpts=21, righthand_kpts=21)
    fields = {name: points(count) for name, count in counts.items()}
    for part in ('lefthand', 'righthand', 'face'):
        fields |= {f'{part}_box': [100, 60, 30, 20], f'{part}_valid': True}
    return fields | dict(iscrowd=0, num_keypoints=17, valid_label=1) | changes


def write_mscoco(root, annotations, bodies):
    write(root / 'annotations/coco_wholebody_train_v1.0.json', coco(annotations))
    write(root / 'annotations/MSCOCO_train_SMPLX_all_NeuralAnnot.json', bodies)


def point(sample, name, field='keypoints_2d'):
    return sample[field][JOINTS.index(name)].tolist()


@pytest.fixture(scope='module')
def smplx(tmp_path_factory):
    path = tmp_path_factory.mktemp('body') / 'body.npz'
    write_smplx_npz(path, num_vertices=120, num_faces=100)
    return str(path)


def test_mscoco(tmp_path):
    """Points by name, boxes, bodies of some; crowds and people without joints do not belong to it."""
    people = [
        whole(),
        whole(1, iscrowd=1),
        whole(2, num_keypoints=0),
        whole(3, lefthand_valid=False, face_valid=False),
        whole(4),
    ]
    bodies = {str(n): dict(smplx_param=param(n), cam_param=CAMERA) for n in (0, 3)}
    bodies['0']['smplx_param']['rhand_valid'] = False
    write_mscoco(tmp_path, people, bodies)
    dataset = WholeBodySet('mscoco', str(tmp_path))
    assert len(dataset) == 3 and dataset.name == 'mscoco'
    first, second, third = (dataset.get_data_info(number) for number in range(3))
    assert first['img_path'] == str(tmp_path / 'images/train2017/a.jpg')
    annotation = people[0]
    np.testing.assert_allclose(point(first, 'left_ankle'), annotation['keypoints'][45:48], rtol=1e-6)
    np.testing.assert_allclose(point(first, 'right_heel'), annotation['foot_kpts'][15:18], rtol=1e-6)
    np.testing.assert_allclose(point(first, 'left_thumb4'), annotation['lefthand_kpts'][12:15], rtol=1e-6)
    np.testing.assert_allclose(point(first, 'contour_middle'), annotation['face_kpts'][24:27], rtol=1e-6)
    np.testing.assert_allclose(point(first, 'right_brow1'), annotation['face_kpts'][51:54], rtol=1e-6)
    hips = np.reshape(annotation['keypoints'], (17, 3))[11:13]
    np.testing.assert_allclose(point(first, 'pelvis'), hips.mean(0), rtol=1e-6)
    assert point(first, 'jaw') == [0, 0, 0] and not first['keypoints_3d'].any()
    np.testing.assert_allclose(first['body_pose'].ravel(), param(0)['body_pose'], rtol=1e-6)
    assert first['camera'].tolist() == [500, 510, 160, 120]
    np.testing.assert_allclose(first['transl'], [0.1, 0.2, 4], rtol=1e-6)
    assert (first['has_left_hand_pose'], first['has_right_hand_pose'], first['has_expression']) == (1, 0, 1)
    # Without a word on its parts, the boxes tell.
    assert (second['has_left_hand_pose'], second['has_right_hand_pose'], second['has_jaw_pose']) == (0, 1, 0)
    assert second['part_boxes'][:, 4].tolist() == [0, 1, 0]
    assert third['has_body_pose'] == third['has_camera'] == 0 and third['part_boxes'][:, 4].all()
    assert not first['fitted_keypoints_2d'].any()  # nobody said which body


def test_points_of_fitted_bodies(tmp_path, smplx):
    """They are the body's, seen by its camera; unknown hands have none."""
    bodies = {'0': dict(smplx_param=param(0, rhand_valid=False), cam_param=CAMERA)}
    write_mscoco(tmp_path, [whole()], bodies)
    sample = WholeBodySet('mscoco', str(tmp_path), body_model=smplx).get_data_info(0)
    body = load_body_model(smplx, 'smplx137', add_hand_means=True)
    fields = {name: torch.tensor(param()[key])[None] for name, key in KEYS.items()}
    joints = body(**fields).joints[0].numpy()
    for name in ('nose', 'left_index4', 'right_brow1'):
        x, y, z = joints[JOINTS.index(name)]
        expected = [500 * x / z + 160, 510 * y / z + 120, 1]
        np.testing.assert_allclose(point(sample, name, 'fitted_keypoints_2d'), expected, rtol=1e-3)
    assert point(sample, 'right_index4', 'fitted_keypoints_2d') == [0, 0, 0]


def test_mpii(tmp_path):
    points = np.concatenate([RNG(0).uniform(20, 200, (16, 2)), np.ones((16, 1))], 1)
    write(tmp_path / 'annotations/train.json', coco([dict(keypoints=points.ravel().tolist())]))
    bodies = {'0': dict(smplx_param=param(), cam_param=CAMERA)}
    write(tmp_path / 'annotations/MPII_train_SMPLX_NeuralAnnot.json', bodies)
    sample = WholeBodySet('mpii', str(tmp_path)).get_data_info(0)
    for name, row in (('right_ankle', 0), ('pelvis', 6), ('neck', 8), ('left_wrist', 15)):
        np.testing.assert_allclose(point(sample, name), points[row], rtol=1e-6)
    assert sample['keypoints_2d'][:, 2].sum() == 14 and sample['has_body_pose'] == 1


def test_ubody(tmp_path):
    """Test videos belong to the other split; who has no valid body, to none; hands' boxes are smaller."""
    people = [whole(), whole(1, valid_label=0), whole(2), whole(3)]
    bodies = {str(number): dict(smplx_param=param(number), cam_param=CAMERA) for number in (0, 1, 3)}
    for scene, video in (('Talk', 'one_Trim2'), ('Vlog', 'two')):
        write(
            tmp_path / f'annotations/{scene}/keypoint_annotation.json',
            coco(people, file_name=f'/{video}/1.png'),
        )
        write(tmp_path / f'annotations/{scene}/smplx_annotation.json', bodies)
    (tmp_path / 'splits').mkdir()
    np.save(tmp_path / 'splits/intra_scene_test_list.npy', np.array(['one']))
    train, test = (WholeBodySet('ubody', str(tmp_path), split) for split in ('train', 'test'))
    assert len(train) == len(test) == 2
    sample = train.get_data_info(1)
    assert sample['img_path'] == str(tmp_path / 'images/Vlog/two/1.png')
    assert test.get_data_info(0)['img_path'].endswith('images/Talk/one_Trim2/1.png')
    left, top, right, bottom, _ = sample['part_boxes'][0]
    assert (right - left, bottom - top) == pytest.approx((30 * 0.65, 20 * 0.65))
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((115, 70))
    face = np.reshape(people[3]['face_kpts'], (68, 3))[:, :2]
    middle, half = (face.min(0) + face.max(0)) / 2, 0.6 * (face.max(0) - face.min(0))
    np.testing.assert_allclose(sample['part_boxes'][2, :4], [*middle - half, *middle + half], rtol=1e-5)
    assert train.get_data_info(0)['scale'].tolist() == pytest.approx([79 * 1.25, 119 * 1.25])


def test_human36m(tmp_path, smplx):
    """Points and body go from the world into the camera; of five frames one is used."""
    rotation, _ = cv2.Rodrigues(np.array([1.2, -0.3, 0.4]))
    camera = dict(R=rotation.tolist(), t=[100.0, -200.0, 5000.0], f=[1100.0, 1150.0], c=[160.0, 120.0])
    world = RNG(0).normal(0, 300, (17, 3))
    keys = dict(subject=1, action_idx=2, subaction_idx=1, cam_idx=3)
    for subject in (1, 5, 6, 7, 8):
        stem = tmp_path / f'annotations/Human36M_subject{subject}'
        images = [IMAGE | keys | dict(id=n, frame_idx=n) for n in (5, 6)]
        people = [dict(id=n, image_id=n, bbox=[100, 50, 80, 120]) for n in (5, 6)]
        write(stem.with_name(f'{stem.name}_data.json'), dict(images=images, annotations=people))
        write(stem.with_name(f'{stem.name}_camera.json'), {'3': camera})
        write(
            stem.with_name(f'{stem.name}_joint_3d.json'),
            {'2': {'1': {'5': world.tolist(), '6': world.tolist()}}},
        )
        write(
            stem.with_name(f'{stem.name}_SMPLX_NeuralAnnot.json'), {'2': {'1': {'5': param(), '6': param()}}}
        )
    dataset = WholeBodySet('human36m', str(tmp_path), body_model=smplx)
    assert len(dataset) == 5
    sample = dataset.get_data_info(0)
    wrist = (rotation @ world[16] + camera['t']) / 1000
    np.testing.assert_allclose(point(sample, 'right_wrist', 'keypoints_3d'), [*wrist, 1], rtol=1e-5)
    pixel = wrist[:2] / wrist[2] * [1100, 1150] + [160, 120]
    np.testing.assert_allclose(point(sample, 'right_wrist')[:2], pixel, rtol=1e-5)
    # The body's points, moved as a whole, are those of the turned body.
    body = load_body_model(smplx, 'smplx55', add_hand_means=True)
    values = {'body_pose': 'body_pose', 'betas': 'shape', 'global_orient': 'root_pose', 'transl': 'trans'}
    fields = {name: torch.tensor(param()[key])[None] for name, key in values.items()}
    expected = body(**fields).joints[0].numpy() @ rotation.T + np.array(camera['t']) / 1000
    moved = fields | {
        name: torch.from_numpy(sample[name]).reshape(1, -1) for name in ('global_orient', 'transl')
    }
    np.testing.assert_allclose(body(**moved).joints[0].numpy(), expected, atol=1e-4)
    assert WholeBodySet('human36m', str(tmp_path)).get_data_info(0)['has_transl'] == 0


def test_pw3d(tmp_path, monkeypatch):
    """Poses for training, SMPL's own joints of the annotated gender for evaluation."""
    pose = RNG(0).normal(0, 0.2, 72).tolist()
    people = [dict(smpl_param=dict(pose=pose, shape=[0.5] * 10, trans=[0, 0, 3], gender='female'))]
    for split in ('train', 'test'):
        write(tmp_path / f'3DPW_{split}.json', coco(people, sequence='walk', cam_param=CAMERA))
    sample = WholeBodySet('pw3d', str(tmp_path)).get_data_info(0)
    np.testing.assert_allclose(sample['body_pose'].ravel(), pose[3:66], rtol=1e-6)
    assert sample['has_body_pose'] == 1 and sample['has_betas'] == sample['has_left_hand_pose'] == 0
    assert sample['img_path'] == str(tmp_path / 'imageFiles/walk/a.jpg')
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path / 'models'))
    write_small_body(tmp_path / 'models/smpl_female.npz', 0)
    skeleton = WholeBodySet('pw3d', str(tmp_path), 'test', test_mode=True).get_data_info(0)['skeleton']
    assert skeleton.shape == (24, 3) and np.isfinite(skeleton).all() and skeleton.std() > 1e-3


def write_agora(root, **changes):
    rng = RNG(0)
    content = dict(
        global_orient=rng.normal(size=(1, 3)), body_pose=rng.normal(size=(1, 63)),
        betas=rng.normal(size=(1, 10)), betas_neutral=rng.normal(size=(1, 10)),
        left_hand_pose=rng.normal(size=(1, 45)),
        right_hand_pose=rng.normal(size=(1, 45)), jaw_pose=rng.normal(size=(1, 3)),
        expression=rng.normal(size=(1, 10)), transl=rng.normal(size=(1, 3)),
    ) | changes  # fmt: skip
    root.mkdir(exist_ok=True)
    (root / 'p.pkl').write_bytes(pickle.dumps(content))
    pixels, places, mesh = (
        rng.uniform(0, 2000, (127, 2)),
        rng.normal(size=(127, 3)),
        rng.normal(size=(120, 3)),
    )
    for name, values in (('2d', pixels), ('3d', places), ('verts', mesh)):
        write(root / f'{name}.json', values.tolist())
    person = dict(
        bbox=[600, 300, 600, 900], lhand_bbox=[660, 390, 90, 60], rhand_bbox=[690, 390, 90, 60],
        face_bbox=[-900, 0, 90, 90], is_valid=True, kid=False, gender='male', smplx_joints_2d_path='2d.json',
        smplx_joints_3d_path='3d.json', smplx_verts_path='verts.json', smplx_param_path='p.pkl',
    )  # fmt: skip
    people = [person, person | dict(is_valid=False), person | dict(kid=True)]
    for split in ('train', 'validation'):
        write(root / f'AGORA_{split}_fix_betas.json', coco(people, file_name_1280x720='train/a.png'))
    return content, pixels, places, mesh


def test_agora(tmp_path):
    """Pixels of pictures of 1280 x 720; neutral shapes of adults; who is not valid does not belong to it."""
    content, pixels, places, mesh = write_agora(tmp_path)
    dataset = WholeBodySet('agora', str(tmp_path), 'test', test_mode=True)
    assert len(dataset) == 2
    sample, kid = dataset.get_data_info(0), dataset.get_data_info(1)
    smplx144 = JOINT_SETS['smplx144']
    for name in ('left_wrist', 'right_thumb4', 'left_brow2', 'left_eyeball'):
        row = smplx144.landmarks.index(JOINTS.landmarks[JOINTS.index(name)])
        np.testing.assert_allclose(point(sample, name)[:2], pixels[row] / 3, rtol=1e-5)
        np.testing.assert_allclose(point(sample, name, 'keypoints_3d')[:3], places[row], rtol=1e-5)
    assert point(sample, 'contour_middle') == [0, 0, 0]
    np.testing.assert_allclose(sample['betas'], content['betas_neutral'][0], rtol=1e-5)
    np.testing.assert_allclose(kid['betas'], content['betas'][0], rtol=1e-5)
    np.testing.assert_allclose(sample['vertices'], mesh, rtol=1e-5)
    assert sample['part_boxes'][:, 4].tolist() == [1, 1, 0] and sample['gender'] == 1
    assert sample['part_boxes'][0, :4].tolist() == [220, 130, 250, 150]
    assert sample['scale'].tolist() == [199, 299]


def test_agora_of_the_server(tmp_path):
    boxes = {'a.png': [dict(bbox=[600, 300, 603, 903])], 'b.png': [dict(bbox=[0, 0, 90, 90])] * 2}
    write(tmp_path / 'AGORA_test_bbox.json', boxes)
    dataset = WholeBodySet('agora', str(tmp_path), 'server', test_mode=True)
    sample = dataset.get_data_info(0)
    assert len(dataset) == 3 and sample['img_path'] == str(tmp_path / 'test/a.png')
    assert sample['center'].tolist() == [300, 250] and sample['scale'].tolist() == [200, 300]
    assert 'vertices' not in sample and not sample['has_body_pose']


class Program:
    def __reduce__(self):
        return os.mkdir, ('executed',)


def test_programs_in_agora_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_agora(tmp_path, transl=Program())
    with pytest.raises(ValueError, match='p.pkl.*Nothing in it was executed'):
        WholeBodySet('agora', str(tmp_path))
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('kind', ['ascii', 'binary_little_endian'])
def test_convention_ehf_is_turned_into_the_camera(tmp_path, kind):
    boxes = dict(body_bbox=[100, 50, 80, 120], lefthand_bbox=[1, 1, 9, 9], righthand_bbox=[1, 1, 9, 9])
    write(tmp_path / 'EHF.json', coco([boxes | dict(face_bbox=[1, 1, 9, 9])], file_name='01_img.jpg'))
    mesh = RNG(0).normal(size=(5, 3)).astype(np.float32)
    header = f'ply\nformat {kind} 1.0\ncomment x\nelement vertex 5\n' + ''.join(
        f'property float {axis}\n' for axis in 'xyz'
    )
    header += 'property uchar red\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n'
    rows = np.zeros(5, [('p', '<f4', 3), ('red', 'u1')])
    rows['p'] = mesh
    text = '\n'.join(f'{x!r} {y!r} {z!r} 9' for x, y, z in mesh.tolist()).encode()
    body = text + b'\n3 0 1 2\n' if kind == 'ascii' else rows.tobytes() + b'\x03' + bytes(12)
    (tmp_path / '01_align.ply').write_bytes(header.encode() + body)
    sample = WholeBodySet('ehf', str(tmp_path), 'test', test_mode=True).get_data_info(0)
    rotation, _ = cv2.Rodrigues(np.array(EHF_ROTATION))
    np.testing.assert_allclose(sample['vertices'], mesh @ rotation.T, atol=1e-6)
    # y up becomes y down, nearly half a turn about x.
    assert (rotation @ [0, 1, 0])[1] < -0.98 and sample['has_body_pose'] == 0
    (tmp_path / '01_align.ply').write_bytes(header.encode() + body[:30])
    with pytest.raises(ValueError, match='01_align.ply'):
        WholeBodySet('ehf', str(tmp_path), 'test', test_mode=True).get_data_info(0)


WRONG = {
    'no_key': (whole(foot_kpts=None), 'v1.0.json: annotation 0: cannot reshape'),
    'no_image': (whole(image_id=8), 'annotation 0 is of an image that is not in the file'),
    'short_box': (whole(bbox=[1, 2, 3]), 'v1.0.json: annotation 0: cannot reshape'),
}


@pytest.mark.parametrize('case', WRONG)
def test_refused_by_name(tmp_path, case):
    person, message = WRONG[case]
    write_mscoco(tmp_path, [person], {})
    with pytest.raises(ValueError, match=message):
        WholeBodySet('mscoco', str(tmp_path))


def test_unknown_sets_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match="kind='coco', split='train': there are mscoco: train"):
        WholeBodySet('coco', str(tmp_path))
    with pytest.raises(ValueError, match="split='train'.*ehf: test"):
        WholeBodySet('ehf', str(tmp_path))
    with pytest.raises(FileNotFoundError, match='coco_wholebody_train_v1.0.json'):
        WholeBodySet('mscoco', str(tmp_path))
    write_mscoco(tmp_path, [whole()], {'0': dict(smplx_param=param())})
    with pytest.raises(ValueError, match="NeuralAnnot.json: body 0 has no 'cam_param'"):
        WholeBodySet('mscoco', str(tmp_path))
