"""3DPW and EMDB from their originals: projected joints of the turned bodies are those of the world's."""

import os
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from mmhier.body_models.model_directory import load_body_model
from mmhier.body_models.smpl_file import JOINT_NAMES
from mmhier.datasets.mesh import MeshNpzDataset
from mmhier.datasets.mesh.benchmark_bodies import read_3dpw, read_emdb
from mmhier.mesh_sample import SMPL_LAYOUT
from mmhier.testing.benchmark_files import (
    FRAMES,
    INTRINSICS,
    dump_python2,
    random_motion,
    sequence_of_3dpw,
    sequence_of_emdb,
    write_small_body,
)

JOINTS = SMPL_LAYOUT.joints

SMPL_JOINTS = [n for n, landmark in enumerate(JOINTS.landmarks) if landmark.startswith('skeleton.')]


@pytest.fixture(scope='module')
def bodies(tmp_path_factory):
    """Three different bodies."""
    folder = tmp_path_factory.mktemp('bodies')
    genders = ('male', 'female', 'neutral')
    return {g: write_small_body(folder / f'{g}.npz', seed) for seed, g in enumerate(genders)}


@pytest.fixture
def load_body(bodies):
    return lambda gender: load_body_model(bodies[gender], 'hmr44')


def to_pixels(points, cameras):
    """World points (T, K, 3) as pixels (T, K, 2) by the plain formula."""
    seen = np.einsum('tij,tkj->tki', cameras[:, :3, :3], points) + cameras[:, None, :3, 3]
    projected = np.einsum('ij,tkj->tki', INTRINSICS, seen)
    return projected[..., :2] / projected[..., 2:]


def in_world(path, motion, joints):
    """Joints (T, K, 3) of a motion, where the data set says they are."""
    body = load_body_model(path, joints).double()
    pose, transl, betas = (torch.from_numpy(motion[name]) for name in ('pose', 'transl', 'betas'))
    return body(betas[None], body_pose=pose[:, 3:], global_orient=pose[:, :3], transl=transl).joints.numpy()


def detected(points, confidence=0.9):
    """``poses2d`` (T, 3, 18) of 3DPW from 18 pixels (T, 18, 2)."""
    return np.concatenate([points, np.full((*points.shape[:2], 1), confidence)], -1).transpose(0, 2, 1)


@pytest.fixture
def of_3dpw(bodies):
    rng = np.random.default_rng(0)
    motions = [random_motion(rng), random_motion(rng)]
    motions[1]['cameras'] = motions[0]['cameras']
    points = [rng.uniform(100, 300, (FRAMES, 18, 2)) for _ in motions]
    content = sequence_of_3dpw('walk_00', motions, ['m', 'f'], [detected(p) for p in points])
    return content, motions, points


def write(folder, content, name='walk_00.pkl'):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(dump_python2(content))
    return folder


def read_back(people, path):
    people.write(path)
    dataset = MeshNpzDataset('x', path.name, '', str(path.parent), test_mode=True, ignore_openpose_3d=False)
    return [dataset.get_data_info(number) for number in range(len(dataset))]


def assert_posed_alike(person, betas, path):
    """The written orientation and pose give the written joints, wherever they stand."""
    names = ('global_orient', 'body_pose')
    pose = {name: torch.from_numpy(person[name])[None].double() for name in names}
    body = load_body_model(path, 'hmr44').double()
    joints = body(torch.from_numpy(betas)[None], **pose).joints[0].numpy()
    written = person['keypoints_3d'][:, :3]
    np.testing.assert_allclose(joints - joints[:1], written - written[:1], atol=1e-5)


def test_3dpw(of_3dpw, bodies, load_body, tmp_path):
    content, motions, points = of_3dpw
    content['campose_valid'][0][1] = 0
    content['poses2d'][1][2, 2] = 0  # nobody was detected
    content['poses2d'][0][0, 2, 3] = 0
    motions[0]['pose'][4, 5] = np.nan
    found = read_3dpw(write(tmp_path / 'test', content), load_body)
    assert found.summary() == (
        '3DPW-test: 10 people read, 7 kept, 3 left out (1: no valid camera; '
        '1: a body or camera that is not finite; 1: no 2-D keypoint to put a box around)'
    )
    people = read_back(found, tmp_path / '3dpw.npz')
    motions[0]['pose'][4, 5] = 0
    kept = [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3), (1, 4)]
    for (number, frame), person in zip(kept, people, strict=True):
        motion, gender = motions[number], ('male', 'female')[number]
        assert person['img_path'].endswith(f'imageFiles/walk_00/image_{frame:05d}.jpg')
        pixels = to_pixels(in_world(bodies[gender], motion, 'hmr44'), motion['cameras'])[frame]
        np.testing.assert_allclose(person['keypoints_2d'][:, :2], pixels, atol=1e-3)
        assert (person['keypoints_2d'][:, 2] == 1).all()
        seen = person['keypoints_3d'][:, :3].astype(float) @ INTRINSICS.T
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], pixels, atol=1e-3)
        assert_posed_alike(person, motion['betas'], bodies[gender])
        np.testing.assert_allclose(person['body_pose'].ravel(), motion['pose'][frame, 3:], atol=1e-6)
        box = np.delete(points[number][frame], 3, 0) if (number, frame) == (0, 0) else points[number][frame]
        np.testing.assert_allclose(person['center'], (box.min(0) + box.max(0)) / 2, rtol=1e-5)
        np.testing.assert_allclose(person['scale'], 1.2 * (box.max(0) - box.min(0)), rtol=1e-4)
        assert (person['has_body_pose'], person['has_betas']) == (1, 0)  # no body of the neutral model
    with np.load(tmp_path / '3dpw.npz', allow_pickle=False) as file:
        assert file['gender'].tolist() == ['male'] * 3 + ['female'] * 4
        np.testing.assert_allclose(file['betas'][0], motions[0]['betas'], rtol=1e-6)


@pytest.fixture
def of_emdb(bodies):
    motion = random_motion(np.random.default_rng(1))
    kp2d = to_pixels(in_world(bodies['female'], motion, 'smpl24'), motion['cameras'])
    boxes = np.array([[10.0, 20, 110, 220]] * FRAMES) + np.arange(FRAMES)[:, None]
    return sequence_of_emdb('P3_07_walk', motion, 'female', kp2d, boxes), motion, kp2d


@pytest.mark.parametrize('boxes', ['dataset', 'joints'])
def test_emdb(of_emdb, bodies, load_body, tmp_path, boxes):
    content, motion, kp2d = of_emdb
    content['good_frames_mask'][0] = False
    content['bboxes']['invalid_idxs'] = np.array([0, 2])
    content['camera']['width'] = int(kp2d[1, :, 0].max()) - 1  # somebody reaches beyond the image
    write(tmp_path / 'P3' / '07_walk', content, 'P3_07_walk_data.pkl')
    write(tmp_path / 'P3' / '08_run', content | dict(emdb1=False), 'P3_08_run_data.pkl')
    found = read_emdb(tmp_path, load_body, boxes)
    assert found.skipped['of a sequence that is not of EMDB-1'] == FRAMES
    assert found.skipped['not a good frame'] == 1
    assert found.skipped['invalid box'] == (boxes == 'dataset')
    people = read_back(found, tmp_path / 'emdb.npz')
    kept = [1, 3, 4] if boxes == 'dataset' else [1, 2, 3, 4]
    outside = 0
    for frame, person in zip(kept, people, strict=True):
        assert person['img_path'].endswith(f'P3/07_walk/images/{frame:05d}.jpg')
        pixels = to_pixels(in_world(bodies['female'], motion, 'hmr44'), motion['cameras'])[frame]
        inside = (pixels >= 0).all(1) & (pixels[:, 0] <= content['camera']['width'] - 1)
        inside &= pixels[:, 1] <= 479
        outside += (~inside).sum()
        np.testing.assert_array_equal(person['keypoints_2d'][:, 2], inside)
        np.testing.assert_allclose(person['keypoints_2d'][inside, :2], pixels[inside], atol=1e-3)
        of_smpl = [joint for joint in SMPL_JOINTS if inside[joint]]
        numbers = [JOINT_NAMES.index(JOINTS.landmarks[joint].removeprefix('skeleton.')) for joint in of_smpl]
        np.testing.assert_allclose(person['keypoints_2d'][of_smpl, :2], kp2d[frame, numbers], atol=1e-3)
        assert_posed_alike(person, motion['betas'], bodies['female'])
        if boxes == 'dataset':
            np.testing.assert_allclose(person['center'], np.array([60, 120]) + frame)
            np.testing.assert_allclose(person['scale'], [120, 240])
        else:
            low, high = kp2d[frame].min(0), kp2d[frame].max(0)
            np.testing.assert_allclose(person['center'], (low + high) / 2, rtol=1e-5)
            np.testing.assert_allclose(person['scale'], 1.2 * (high - low), rtol=1e-5)
    assert outside


@pytest.mark.parametrize('protocol', range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_neutral_bodies_keep_their_shape(of_emdb, load_body, tmp_path, protocol):
    content, motion, _ = of_emdb
    content |= dict(gender='neutral', emdb1=np.bool_(True), n_frames=np.int64(FRAMES))
    (tmp_path / 'P3' / '07_walk').mkdir(parents=True)
    (tmp_path / 'P3' / '07_walk' / 'a_data.pkl').write_bytes(pickle.dumps(content, protocol))
    person = read_back(read_emdb(tmp_path, load_body, 'joints'), tmp_path / 'x.npz')[0]
    assert person['has_betas'] == 1
    np.testing.assert_allclose(person['betas'], motion['betas'], rtol=1e-6)


class Evil:
    """Makes a file when a careless reader unpickles it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize('where', ['whole file', 'entry', 'list'])
def test_malicious_files_are_not_executed(of_3dpw, of_emdb, load_body, tmp_path, where):
    marker, evil = tmp_path / 'ran', Evil(tmp_path / 'ran')
    for content, read in ((of_3dpw[0], read_3dpw), (of_emdb[0], partial(read_emdb, boxes='joints'))):
        wanted = {'whole file': evil, 'entry': content | dict(betas=evil), 'list': content | dict(a=[evil])}
        folder = tmp_path / read_name(read)
        write(folder / 'P0' / 'a', wanted[where], 'a_data.pkl')
        write(folder, wanted[where], 'a.pkl')
        with pytest.raises(ValueError, match='Nothing in it was executed'):
            read(folder, load_body)
    assert not marker.exists()


def read_name(read):
    return getattr(read, 'func', read).__name__


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(poses=None), 'has no poses'),
        (dict(poses=np.zeros((2, FRAMES, 72))), 'are not lists of one length'),
        (dict(trans=[np.zeros((FRAMES, 3))]), 'are not lists of one length'),
        (dict(trans=[np.zeros((FRAMES, 3)), np.zeros((4, 3))]), r'person 1: trans is \(4, 3\)'),
        (dict(cam_poses=np.zeros((FRAMES, 3, 4))), r'cam_poses is \(5, 3, 4\)'),
        (dict(genders=['m', 'x']), "person 1: gender is 'x'"),
        (dict(betas=['a', 'b']), 'person 0: betas is not an array of numbers'),
    ],
)
def test_malformed_3dpw_is_refused(of_3dpw, load_body, tmp_path, changes, message):
    content = {name: value for name, value in (of_3dpw[0] | changes).items() if value is not None}
    with pytest.raises(ValueError, match=message) as caught:
        read_3dpw(write(tmp_path, content), load_body)
    assert 'walk_00.pkl' in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(smpl=3), 'smpl is no dictionary but a int'),
        (dict(camera={}), 'camera has no intrinsics, extrinsics, width, height'),
        (dict(kp2d=np.zeros((FRAMES, 17, 2))), r'kp2d is \(5, 17, 2\)'),
        (dict(n_frames=3), r'poses_root is \(5, 3\)'),
        (dict(n_frames=[1, 'a']), 'n_frames is not an array of numbers'),
    ],
)
def test_malformed_emdb_is_refused(of_emdb, load_body, tmp_path, changes, message):
    write(tmp_path / 'P0' / 'a', of_emdb[0] | changes, 'a_data.pkl')
    with pytest.raises(ValueError, match=message):
        read_emdb(tmp_path, load_body, 'joints')


def test_truncated_files_and_empty_folders(of_3dpw, load_body, tmp_path):
    whole = dump_python2(of_3dpw[0])
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / 'a.pkl').write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r'a\.pkl is not a pickle of arrays, or a damaged one'):
            read_3dpw(tmp_path, load_body)
    with pytest.raises(FileNotFoundError, match='give sequenceFiles/test of 3DPW'):
        read_3dpw(tmp_path / 'gone', load_body)
    with pytest.raises(FileNotFoundError, match='give the folder with P0'):
        read_emdb(tmp_path, load_body, 'joints')
    with pytest.raises(ValueError, match="boxes must be one of .*, got 'mine'"):
        read_emdb(tmp_path, load_body, 'mine')
