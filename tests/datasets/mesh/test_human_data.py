"""HumanData: what reaches a sample, which key counts, what is left out and counted, what is refused."""

import json
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mmhier.datasets.mesh import HumanDataset, whole_body_index
from mmhier.datasets.mesh.human_data_file import POINTS, read_human_data
from mmhier.datasets.mesh.whole_body_annotation import JOINTS
from mmhier.testing.benchmark_files import write_small_body
from mmhier.testing.human_data import compressed, random_human_data, write_human_data
from mmhier.testing.smplx_file import random_smplx, write_smplx_npz

COUNT = 5


def read(path, block=2):
    """All people of a file at once."""
    parts = list(read_human_data(path, block))
    records = np.concatenate([part.records for part in parts])
    images = [image for part in parts for image in part.images]
    return records, np.concatenate([part.problems for part in parts]), images


@pytest.fixture
def write(tmp_path):
    def write_file(changes=None, **settings):
        write_human_data(tmp_path / 'x.npz', changes, **settings)
        return tmp_path / 'x.npz'

    return write_file


def changed(body='smplx', **parameters):
    """Content whose parameters are changed; those that are None are left out."""
    values = random_human_data(COUNT, body=body)[body] | parameters
    return {body: {key: value for key, value in values.items() if value is not None}}


def test_convention_fields_reach_the_sample(write):
    """Boxes become corners and centres, hands and numbers stay where they are, eyeballs are their own."""
    path = write()
    file = random_human_data(COUNT)
    dataset = HumanDataset('x', path.name, 'pictures', str(path.parent), part_padding=None)
    assert len(dataset) == COUNT
    sample = dataset.get_data_info(3)
    assert sample['img_path'] == str(path.parent / 'pictures/images/0003.jpg')
    assert sample['sample_key'] == 'images/0003.jpg#0.3' and sample['dataset_name'] == 'x'
    parameters = file['smplx']
    for name in ('body_pose', 'left_hand_pose', 'right_hand_pose', 'betas', 'expression', 'transl'):
        np.testing.assert_allclose(sample[name], parameters[name][3], rtol=1e-6)
    np.testing.assert_allclose(sample['global_orient'][0], parameters['global_orient'][3], rtol=1e-6)
    x, y, width, height, _ = file['bbox_xywh'][3]
    np.testing.assert_allclose(sample['center'], [x + (width - 1) / 2, y + (height - 1) / 2], rtol=1e-6)
    np.testing.assert_allclose(sample['scale'], [width - 1, height - 1], rtol=1e-6)
    x, y, width, height, _ = file['rhand_bbox_xywh'][3]
    np.testing.assert_allclose(sample['part_boxes'][1], [x, y, x + width, y + height, 1], rtol=1e-6)
    for joint, number in (
        ('left_wrist', 20),
        ('right_thumb4', 71),
        ('left_eyeball', 57),
        ('contour_middle', 135),
    ):
        row = sample['keypoints_2d'][JOINTS.index(joint)]
        np.testing.assert_allclose(row, file['keypoints2d_smplx'][3, number], rtol=1e-6)
        row = sample['keypoints_3d'][JOINTS.index(joint)]
        np.testing.assert_allclose(row, file['keypoints3d_smplx'][3, number], rtol=1e-5)
    assert sample['image_hw'].tolist() == [240, 320] and sample['gender'] == 2
    assert [dataset.get_data_info(number)['gender'] for number in (1, 2)] == [1, 0]
    flags = ('body_pose', 'left_hand_pose', 'right_hand_pose', 'jaw_pose', 'betas', 'expression', 'transl')
    assert all(sample[f'has_{name}'] == 1 for name in flags) and sample['has_camera'] == 0


def test_boxes_are_cut_and_enlarged(write):
    """By hand: 100 x 100 pixels, of which 20 lie left of the image; a hand of 31 x 21."""
    file = random_human_data(1)
    file['bbox_xywh'][0] = -20, 50, 100, 100, 1
    file['lhand_bbox_xywh'][0] = 100, 100, 31, 21, 1
    path = write(file)
    cut = HumanDataset('x', str(path), padding=1.2, part_padding=None).get_data_info(0)
    assert cut['center'].tolist() == [39.5, 99.5]  # from 0 to 79
    np.testing.assert_allclose(cut['scale'], [79 * 1.2, 99 * 1.2], rtol=1e-6)
    assert cut['part_boxes'][0].tolist() == [100, 100, 131, 121, 1]
    moved = HumanDataset('x', str(path), move_boxes=True).get_data_info(0)
    assert moved['center'].tolist() == [49.5, 99.5] and moved['scale'].tolist() == [99, 99]
    # 30 x 20 around (115, 110) become 30 x 40, then 36 x 48.
    assert moved['part_boxes'][0].tolist() == [97, 86, 133, 134, 1]
    write(file | {'meta': None})
    unknown = HumanDataset('x', str(path)).get_data_info(0)
    assert unknown['center'].tolist() == [30, 100] and unknown['scale'].tolist() == [100, 100]


def test_cameras_of_the_file(write):
    focal, center = np.full((COUNT, 2), 500.0), np.tile([160.0, 120.0], (COUNT, 1))
    records, *_ = read(write({'meta': {'focal_length': focal, 'principal_point': center}}))
    assert records['camera'].tolist() == [[500, 500, 160, 120]] * COUNT and records['has_camera'].all()


def test_official_eyeballs(write):
    path = write()
    ours, theirs = (
        HumanDataset('x', str(path), exchange_eyeballs=exchange).get_data_info(0)['keypoints_2d']
        for exchange in (False, True)
    )
    left, right = JOINTS.indices(['left_eyeball', 'right_eyeball'])
    assert not np.array_equal(ours[left], ours[right])
    np.testing.assert_array_equal(theirs[[left, right]], ours[[right, left]])


def test_blocks_and_compression_change_nothing(write):
    whole = read(write(), block=100)
    for path in (write(), write(compressed(random_human_data(COUNT)))):
        for block in (1, 2, 5):
            parts = read(path, block)
            np.testing.assert_array_equal(parts[0], whole[0])
            assert parts[2] == whole[2] and len(parts[2]) == COUNT


def test_which_key_counts(write):
    file = random_human_data(COUNT)
    other = file['keypoints2d_smplx'] + 1000
    records, *_ = read(write({'keypoints2d': other, 'keypoints2d_mask': file['keypoints2d_smplx_mask']}))
    np.testing.assert_allclose(records['keypoints_2d'][..., :2], other[:, POINTS, :2], rtol=1e-6)
    records, *_ = read(write({'keypoints2d_original': other, 'smpl': changed('smpl')['smpl']}))
    np.testing.assert_allclose(
        records['keypoints_2d'][..., :2], file['keypoints2d_smplx'][:, POINTS, :2], rtol=1e-6
    )
    assert records['has_left_hand_pose'].all()


def test_masks(write):
    """The mask of 3-D is that of 2-D, too; without 3-D that of 2-D; other confidences are the file's."""
    file = random_human_data(COUNT)
    mask = np.ones(190, bool)
    mask[7] = 0
    points = file['keypoints2d_smplx'].copy()
    points[1, 8, 2] = 0.25
    left, right = JOINTS.indices(['left_ankle', 'right_ankle'])
    records, *_ = read(write({'keypoints3d_smplx_mask': mask, 'keypoints2d_smplx': points}))
    assert not records['keypoints_2d'][:, left].any() and not records['keypoints_3d'][:, left].any()
    assert records['keypoints_2d'][:, right, 2].tolist() == [1, 0.25, 1, 1, 1]
    gone = {'keypoints3d_smplx': None, 'keypoints3d_smplx_mask': None, 'keypoints2d_smplx_mask': mask}
    records, *_ = read(write(gone))
    assert not records['keypoints_2d'][:, left].any() and records['keypoints_2d'][:, right, 2].all()
    assert not records['keypoints_3d'].any()
    records, *_ = read(write({'keypoints2d_smplx': file['keypoints2d_smplx'][:, :144, :2]}))
    assert (records['keypoints_2d'][..., 2] == 1).all()


@pytest.mark.parametrize('body', ['smpl', 'smplh'])
def test_other_bodies_become_smplx(write, body):
    """Their shape means another one, SMPL's last two rotations are its hands."""
    records, *_ = read(write({'smplx': None} | changed(body), body=body))
    pose = random_human_data(COUNT, body=body)[body]['body_pose']
    np.testing.assert_allclose(records['body_pose'], pose[:, :21], rtol=1e-6)
    assert records['has_body_pose'].all() and not records['has_betas'].any() and not records['betas'].any()
    for name in ('left_hand_pose', 'right_hand_pose', 'jaw_pose', 'expression'):
        assert not records[f'has_{name}'].any()


def test_parameters_may_be_missing_flat_or_longer(write):
    values = random_human_data(COUNT)['smplx']
    records, *_ = read(
        write(
            changed(
                left_hand_pose=None,
                jaw_pose=None,
                body_pose=values['body_pose'].reshape(COUNT, 63),
                expression=np.ones((COUNT, 50)),
                betas_neutral=np.full((COUNT, 11), 2.0),
                transl=list(values['transl']),
                gender=['male'] * COUNT,
            )
        )
    )
    assert not records['has_left_hand_pose'].any() and records['has_right_hand_pose'].all()
    assert not records['has_jaw_pose'].any() and records['has_expression'].all()
    np.testing.assert_allclose(records['body_pose'], values['body_pose'], rtol=1e-6)
    assert (records['betas'] == 2).all() and (records['expression'] == 1).all()
    np.testing.assert_allclose(records['transl'], values['transl'], rtol=1e-6)


def test_what_cannot_be_used_is_counted_and_named(write):
    """NaN, boxes without area or outside of the image; parts without box are no problem."""
    file = random_human_data(7)
    file['keypoints3d_smplx'][0, 5, 1] = np.nan
    file['keypoints2d_smplx'][1, 189] = np.nan  # masked
    file['smplx']['betas'][2, 0] = np.inf
    file['bbox_xywh'][3, 2] = 0
    file['bbox_xywh'][4, 0] = 320
    file['lhand_bbox_xywh'][5, 4] = 0
    file['rhand_bbox_xywh'][5, :2] = -100
    file['face_bbox_xywh'][5, 2] = np.nan
    path = write(file)
    records, problems, _ = read(path)
    assert problems.tolist() == [3, 0, 3, 1, 4, 0, 0]
    assert not records[problems > 0].tobytes().strip(b'\0')
    assert not records['part_boxes'][5].any() and records['part_boxes'][6, :, 4].all()
    dataset = HumanDataset('x', str(path))
    assert [dataset.get_data_info(number)['sample_key'][-1] for number in range(len(dataset))] == [
        '1',
        '5',
        '6',
    ]
    (summary,) = (path.parent / '.mmhier_index').glob('*.json')
    assert sum(json.loads(summary.read_text())['problems'].values()) == 4
    with pytest.raises(ValueError, match='evaluation leaves nobody out.*box outside of the image'):
        HumanDataset('x', str(path), test_mode=True)
    assert len(HumanDataset('x', str(path), test_mode=True, leave_out=True)) == 3


def test_interval_counts_from_the_first_of_each_file(write, tmp_path):
    file = random_human_data(7)
    file['bbox_xywh'][3, 2] = 0
    path = write(file)
    dataset = HumanDataset('x', [path.name] * 2, '', str(tmp_path), interval=3)
    keys = [dataset.get_data_info(number)['sample_key'].partition('#')[2] for number in range(len(dataset))]
    assert keys == ['0.0', '0.6', '1.0', '1.6']


def test_sizes_and_cameras_of_the_config_fill_what_is_missing(write):
    path = write({'meta': None})
    camera = (500.0, 500.0, 160.0, 120.0)
    sample = HumanDataset('x', str(path), image_hw=(24, 32), camera=camera).get_data_info(0)
    assert sample['image_hw'].tolist() == [24, 32]
    assert sample['camera'].tolist() == list(camera) and sample['has_camera'] == 1
    sample = HumanDataset('x', str(write()), image_hw=(24, 32)).get_data_info(0)
    assert sample['image_hw'].tolist() == [240, 320] and sample['has_camera'] == 0


REFUSED = {
    'no_image': ({'image_path': None}, 'no "image_path"; it has .*bbox_xywh'),
    'no_box': ({'bbox_xywh': None}, 'no "bbox_xywh"'),
    'no_body': ({'smplx': None}, 'no bodies: none of smplx, smpl, smplh'),
    'no_points': ({'keypoints2d_smplx': None}, 'no 2-D points'),
    'no_mask': (dict.fromkeys(('keypoints2d_smplx_mask', 'keypoints3d_smplx_mask')), 'no mask of points'),
    'no_orient': (changed(global_orient=None), 'smplx has no "global_orient"; it has body_pose'),
    'fewer_boxes': ({'bbox_xywh': np.ones((COUNT - 1, 5))}, r'"bbox_xywh" has shape \(4, 5\)'),
    'hands_without_confidence': ({'lhand_bbox_xywh': np.ones((COUNT, 4))}, '"lhand_bbox_xywh" has shape'),
    'fewer_points': ({'keypoints2d_smplx': np.ones((COUNT, 133, 3))}, r'"keypoints2d_smplx" has .*\(5, 133'),
    'fewer_rows': ({'keypoints3d_smplx': np.ones((COUNT - 1, 190, 4))}, '"keypoints3d_smplx" has shape'),
    'short_mask': ({'keypoints2d_smplx_mask': np.ones(17)}, 'keypoints2d_smplx_mask has 17 entries'),
    'fewer_people': (changed(betas=np.ones((3, 10))), r'smplx.betas has shape \(3, 10\), there are 5 people'),
    'fewer_betas': (changed(betas=np.ones((COUNT, 6))), 'smplx.betas has 6 numbers a person, expected 10'),
    'smpl_rotations': (changed(body_pose=np.ones((COUNT, 23, 3))), 'smplx.body_pose has 69 numbers'),
    'one_focal_length': (
        {'meta': {'focal_length': np.ones((COUNT, 1)), 'principal_point': np.ones((COUNT, 2))}},
        'meta.focal_length and principal_point are not two numbers',
    ),
    'no_width': ({'meta': {'height': [1] * COUNT}}, 'meta.width is not a usable array'),
    'text': (changed(betas=np.array(['a'] * COUNT)), 'smplx.betas is not a usable array'),
    'no_dictionary': ({'smplx': np.ones((COUNT, 3))}, 'smplx is no dictionary'),
    'numbers_as_names': ({'image_path': np.arange(COUNT)}, 'image_path holds something that is no text'),
    'nobody': ({'image_path': np.array([], str)}, 'holds nobody'),
}  # fmt: skip


@pytest.mark.parametrize('case', REFUSED)
def test_refused_by_name(write, case):
    changes, message = REFUSED[case]
    path = write(changes)
    with pytest.raises(ValueError, match=f'x.npz.*{message}'):
        read(path)
    with pytest.raises(ValueError, match='x.npz'):
        HumanDataset('x', str(path))
    assert not list(path.parent.glob('.mmhier_index/*'))


class Program:
    def __reduce__(self):
        return os.mkdir, ('executed',)


@pytest.mark.parametrize('key', ['smplx', 'meta', 'image_path'])
def test_programs_are_refused(write, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write({key: np.array({'betas': Program()}, object)})
    with pytest.raises(ValueError, match='Nothing in it was executed'):
        read(path)
    assert not (tmp_path / 'executed').exists()


def test_damage_is_found(write):
    """A byte that changed within the points, which are read in portions."""
    path = write()
    np.savez(path, **random_human_data(COUNT))  # not compressed
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo('keypoints3d_smplx.npy')
    content[info.header_offset + info.file_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match='x.npz is damaged or encrypted: keypoints3d_smplx'):
        read(path)


def test_index_is_built_once_and_again_for_another_file(write, monkeypatch):
    path = write()
    before = HumanDataset('x', str(path)).get_data_info(1)
    monkeypatch.setattr(whole_body_index, '_build', None)
    after = HumanDataset('x', str(path)).get_data_info(1)
    np.testing.assert_array_equal(before['keypoints_3d'], after['keypoints_3d'])
    monkeypatch.undo()
    write(seed=1)
    assert HumanDataset('x', str(path)).get_data_info(1)['betas'][0] != before['betas'][0]


def test_processes_build_one_index(write, tmp_path):
    path = write()
    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(lambda _: HumanDataset('x', str(path), index_dir=str(tmp_path / 'index')), range(4))
        )
    assert len({str(dataset.get_data_info(0)['betas']) for dataset in made}) == 1
    assert len(list((tmp_path / 'index').iterdir())) == 3  # neither lock nor leftovers


def test_workers_get_paths_not_people(write):
    """A process that is started anew must not be sent what lies in the index."""
    path = write()
    dataset = HumanDataset('x', str(path))
    dataset.get_data_info(0)
    index = pickle.dumps(dataset.indexes)
    assert len(index) < 1000
    assert isinstance(dataset.indexes[0].records, np.memmap)
    assert len(pickle.loads(index)[0].records) == COUNT


def test_flat_hands(write, tmp_path):
    write_smplx_npz(tmp_path / 'body.npz', num_vertices=120, num_faces=100)
    path = write()
    flat = HumanDataset('x', str(path), flat_hands=str(tmp_path / 'body.npz')).get_data_info(2)
    mean = random_smplx(num_vertices=120, num_faces=100)['hands_meanr'].reshape(15, 3)
    expected = random_human_data(COUNT)['smplx']['right_hand_pose'][2] - mean
    np.testing.assert_allclose(flat['right_hand_pose'], expected, atol=1e-6)
    with pytest.raises(ValueError, match='no mean hands'):
        HumanDataset('x', str(path), flat_hands=str(write_small_body(tmp_path / 'small.npz', 0)))
