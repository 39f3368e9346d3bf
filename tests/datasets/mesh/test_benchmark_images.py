"""COCO, PoseTrack and LSP-Extended from their originals: every joint in its place, everybody counted."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from mmhier.datasets.mesh import MeshNpzDataset
from mmhier.datasets.mesh.benchmark_images import read_coco, read_lsp_extended, read_posetrack
from mmhier.mesh_sample import SMPL_LAYOUT
from mmhier.testing.benchmark_files import write_coco_people

# As COCO and PoseTrack list them.
COCO = (
    'nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow '
    'left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle'
).split()
POSETRACK = ['nose', 'neck_lsp', 'head_top_lsp', *COCO[3:]]
LSP = (
    'right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder '
    'left_shoulder left_elbow left_wrist neck head_top'
).split()

JOINTS = SMPL_LAYOUT.joints
BOX = [10.0, 20.0, 30.0, 50.0]


def keypoints(hidden=(), unknown=()):
    points = np.array([(10 * n + 1, 10 * n + 2, 2) for n in range(17)], float)
    points[list(hidden), 2] = 1
    points[list(unknown)] = (7, 7, 0)  # PoseTrack has such coordinates
    return points


def read_back(people, path, **arguments):
    people.write(path)
    return MeshNpzDataset('x', path.name, '', str(path.parent), test_mode=True, **arguments)


def test_coco(tmp_path):
    people = [
        dict(keypoints=keypoints(hidden=[6], unknown=[1]), bbox=BOX),
        dict(keypoints=keypoints(unknown=[16]), bbox=BOX),
        dict(keypoints=keypoints(), bbox=[1, 1, 0.5, 9]),
        dict(keypoints=keypoints()),
    ]
    found = read_coco(write_coco_people(tmp_path / 'a.json', people))
    assert found.summary() == (
        'COCO-val: 4 people read, 1 kept, 3 left out (1: fewer than 12 of the 12 joints of the limbs; '
        '1: box narrower than a pixel; 1: no box)'
    )
    dataset = read_back(found, tmp_path / 'coco_val.npz')
    person = dataset.get_data_info(0)
    assert person['img_path'].endswith('val2017/000000.jpg')
    np.testing.assert_allclose(person['center'], [25, 45])
    np.testing.assert_allclose(person['scale'], [36, 60])  # 1.2 times the box
    expected = np.zeros((44, 3))
    for number, name in enumerate(COCO):
        if number != 1:
            expected[JOINTS.index(name)] = (10 * number + 1, 10 * number + 2, 1)
    np.testing.assert_allclose(person['keypoints_2d'], expected)
    assert (person['has_body_pose'], person['has_betas']) == (0, 0)


def test_fewer_limbs_may_be_asked_for(tmp_path):
    people = [dict(keypoints=keypoints(unknown=[16]), bbox=BOX)]
    assert len(read_coco(write_coco_people(tmp_path / 'a.json', people), min_limbs=11).imgname) == 1


def test_posetrack(tmp_path):
    for video in ('b', 'a'):
        people = [dict(keypoints=keypoints(hidden=range(17), unknown=[3, 4]), bbox=BOX)]
        write_coco_people(tmp_path / f'{video}.json', people, f'images/val/{video}/')
    dataset = read_back(read_posetrack(tmp_path), tmp_path / 'posetrack.npz')
    assert len(dataset) == 2
    person = dataset.get_data_info(0)
    assert person['img_path'].endswith('images/val/a/000000.jpg')
    expected = np.zeros((44, 3))
    for number, name in enumerate(POSETRACK):
        if number not in (3, 4):
            expected[JOINTS.index(name)] = (10 * number + 1, 10 * number + 2, 1)
    np.testing.assert_allclose(person['keypoints_2d'], expected)


@pytest.fixture
def lsp(tmp_path):
    """Two people with images; of the second two joints are marked as hidden, one of them far away."""
    joints = np.zeros((14, 3, 2))
    for person in range(2):
        joints[:, 0, person] = 20 + 3 * np.arange(14)
        joints[:, 1, person] = 10 + 2 * np.arange(14) + person
        joints[:, 2, person] = 1
        cv2.imwrite(str(tmp_path / f'im{person + 1:05d}.png'), np.full((60, 90, 3), 9, np.uint8))
    joints[[0, 5], 2, 1] = 0
    joints[0, :2, 1] = (-100, -50)
    savemat(tmp_path / 'joints.mat', dict(joints=joints))
    return tmp_path, joints


def test_lsp_extended(lsp):
    folder, joints = lsp
    pipeline = [dict(type=step) for step in ('LoadMeshImage', 'MeshBox', 'MeshAffine', 'PackMeshInputs')]
    dataset = read_back(read_lsp_extended(folder), folder / 'lsp.npz', pipeline=pipeline)
    person = dataset.get_data_info(0)
    np.testing.assert_allclose(person['center'], [39.5, 23])
    np.testing.assert_allclose(person['scale'], [46.8, 31.2], rtol=1e-6)
    expected = np.zeros((44, 3))
    for number, name in enumerate(LSP):
        expected[JOINTS.index(f'{name}_lsp')] = (*joints[number, :2, 0], 1)
    np.testing.assert_allclose(person['keypoints_2d'], expected)
    assert dataset.get_data_info(1)['keypoints_2d'][JOINTS.index('right_ankle_lsp'), 2] == 1
    assert dataset[1]['inputs'].shape == (3, 256, 192)


def test_hidden_joints_of_lsp_extended_may_be_left_out(lsp):
    folder, joints = lsp
    person = read_back(read_lsp_extended(folder, visible_only=True), folder / 'lsp.npz').get_data_info(1)
    confidence = person['keypoints_2d'][JOINTS.indices(f'{name}_lsp' for name in LSP), 2]
    np.testing.assert_array_equal(confidence, joints[:, 2, 1])
    np.testing.assert_allclose(person['center'][0], (23 + 59) / 2)  # without the joint that is far away


def test_lsp_extended_that_is_not_whole(lsp):
    folder, joints = lsp
    (folder / 'im00002.png').unlink()
    with pytest.raises(ValueError, match=r'1 \.png images and joints of 2 people'):
        read_lsp_extended(folder)
    savemat(folder / 'joints.mat', dict(joints=joints.transpose(1, 0, 2)))
    with pytest.raises(ValueError, match=r'joints is \(3, 14, 2\)'):
        read_lsp_extended(folder)
    joints[3, 0, 0] = np.nan
    savemat(folder / 'joints.mat', dict(joints=joints[..., :1]))
    with pytest.raises(ValueError, match=r'im00001\.png hold a number that is not finite'):
        read_lsp_extended(folder)
    for content in (b'', b'nothing', (folder / 'joints.mat').read_bytes()[:200]):
        (folder / 'joints.mat').write_bytes(content)
        with pytest.raises(ValueError, match=r'joints\.mat is not'):
            read_lsp_extended(folder)
    (folder / 'joints.mat').unlink()
    with pytest.raises(FileNotFoundError, match=r'joints\.mat does not exist'):
        read_lsp_extended(folder)


def test_malformed_annotations_are_named(tmp_path):
    path = tmp_path / 'a.json'
    for person, message in (
        (dict(keypoints=np.ones((16, 3)), bbox=BOX), 'annotation 0 is not a person of 17 keypoints'),
        (dict(keypoints=keypoints() * np.nan, bbox=BOX), 'annotation 0 holds a number that is not finite'),
        (dict(keypoints=keypoints(), bbox=[1, 2, float('inf'), 4]), 'not finite'),
        (dict(keypoints=keypoints(), bbox=['a']), 'annotation 0 is not a person'),
    ):
        with pytest.raises(ValueError, match=message):
            read_coco(write_coco_people(path, [person]))
    for text in ('', '[]', '{"images": []}', '{"images": [1], "annotations": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match='is not an annotation file in COCO format'):
            read_coco(path)
    path.write_text('{"images": [{"id": 1}, {"id": 1}], "annotations": []}')
    with pytest.raises(ValueError, match='two images have the same id'):
        read_coco(path)
    path.write_text('{"images": [], "annotations": [3]}')
    with pytest.raises(ValueError, match='annotation 3 is not a person'):
        read_coco(path)
    with pytest.raises(FileNotFoundError, match=r'gone\.json does not exist'):
        read_coco(tmp_path / 'gone.json')
    with pytest.raises(FileNotFoundError, match=r'holds no \.json files'):
        read_posetrack(tmp_path / 'gone')


def test_nobody_left_writes_nothing(tmp_path):
    people = read_coco(write_coco_people(tmp_path / 'a.json', [dict(keypoints=keypoints(range(17)))]))
    with pytest.raises(ValueError, match='nobody is left to write to'):
        people.write(tmp_path / 'x.npz')
    assert not (tmp_path / 'x.npz').exists()


def test_real_annotations(sample_data, tmp_path):
    coco = read_coco(sample_data / 'coco' / 'test_coco.json', '')
    assert (len(coco.imgname), sum(coco.skipped.values())) == (7, 7)
    folder = sample_data / 'coco'
    pipeline = [dict(type=step) for step in ('LoadMeshImage', 'MeshBox', 'MeshAffine', 'PackMeshInputs')]
    coco.write(tmp_path / 'coco.npz')
    dataset = MeshNpzDataset(
        'coco', str(tmp_path / 'coco.npz'), str(folder), test_mode=True, pipeline=pipeline
    )
    for sample in dataset:
        labels = sample['data_samples'].gt_instance_labels.keypoints_2d[0]
        limbs = labels[JOINTS.indices(COCO[5:])]
        assert (limbs[:, 2] == 1).all()
        assert (abs(limbs[:, :2]) <= 0.5).all()  # inside the crop
    posetrack = read_posetrack(sample_data / 'posetrack18' / 'annotations' / 'val')
    assert (len(posetrack.imgname), sum(posetrack.skipped.values())) == (3, 11)
    assert all((sample_data / 'posetrack18' / name).is_file() for name in posetrack.imgname)
