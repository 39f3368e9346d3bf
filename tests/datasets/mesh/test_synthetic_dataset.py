"""Synthetic people arrive with the bodies that their pictures show."""

import json

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.model_directory import load_body_model
from mmhier.datasets.mesh.concat_dataset import ConcatMeshDataset
from mmhier.datasets.mesh.synthetic_dataset import SyntheticMeshDataset, SyntheticPoses
from mmhier.datasets.synthetic.generator import generate

HMR44, COCO17 = joint_set('hmr44'), joint_set('coco17')
PIPELINE = [dict(type=name) for name in ('LoadMeshImage', 'MeshBox', 'MeshAffine', 'PackMeshInputs')]


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    init_default_scope('mmpose')
    folder = tmp_path_factory.mktemp('people') / 'synth'
    generate(folder, 6, 2, seed=3, image_size_wh=(160, 128), workers=1, progress=False)
    return folder


@pytest.fixture
def arrays(people):
    return dict(np.load(people / 'annotations' / 'smpl_train.npz'))


def test_samples_agree_with_the_files(people, arrays):
    data = SyntheticMeshDataset(str(people), 'train', pipeline=PIPELINE, test_mode=True)
    assert len(data) == len(arrays['betas']) >= 6
    shared = [HMR44.names.index(name) for name in COCO17.names]
    boxes = [a['bbox'] for a in json.loads((people / 'annotations/person_keypoints_train.json').read_text())[
        'annotations'
    ]]  # fmt: skip
    for index in range(len(data)):
        sample = data[index]['data_samples']
        labels, truth = sample.gt_instance_labels, sample.gt_instances
        # the face of the two sets is not the same few vertices
        np.testing.assert_allclose(
            truth.keypoints[0, shared][5:], arrays['coco17_2d'][index, 5:, :2], atol=0.1
        )
        np.testing.assert_allclose(
            labels.keypoints_3d[0, shared, :3][5:], arrays['coco17_3d'][index, 5:], atol=2e-3
        )
        assert (truth.keypoints_confidence == 1).all()
        np.testing.assert_allclose(truth.bbox_scales[0], 1.2 * np.array(boxes[index][2:]), rtol=1e-5)
        body = load_body_model('open', 'hmr44')(
            *map(torch.from_numpy, (labels.betas, labels.body_pose, labels.global_orient))
        )
        offset = labels.keypoints_3d[0, :, :3] - body.joints[0].numpy()
        np.testing.assert_allclose(offset, arrays['transl'][index][None].repeat(44, 0), atol=1e-3)
        assert sample.dataset_name == 'synth'


def test_poses_for_the_prior(people, arrays):
    poses = SyntheticPoses(str(people / 'annotations' / 'smpl_train.npz'))
    assert len(poses) == len(arrays['betas'])
    np.testing.assert_array_equal(poses[2]['body_pose'].ravel(), arrays['body_pose'][2])
    np.testing.assert_array_equal(poses[2]['betas'], arrays['betas'][2])


def test_several_data_sets_in_a_row(people):
    parts = [
        dict(type='SyntheticMeshDataset', data_root=str(people), split=split, name=split, pipeline=PIPELINE)
        for split in ('train', 'val')
    ]
    both = DATASETS.build(dict(type='ConcatMeshDataset', datasets=parts))
    first, second = both.datasets
    assert len(both) == len(first) + len(second)
    seen = [both[index]['data_samples'] for index in range(len(both))]
    assert [sample.dataset_name for sample in seen] == ['train'] * len(first) + ['val'] * len(second)
    assert [sample.sample_idx for sample in seen] == [*range(len(first)), *range(len(second))]
    torch.testing.assert_close(both[len(first)]['inputs'], second[0]['inputs'])
    with pytest.raises(IndexError):
        both[len(both)]
    with pytest.raises(ValueError, match='a name of its own'):
        ConcatMeshDataset([parts[0], parts[0]])


def test_errors_name_file_and_remedy(people, tmp_path):
    with pytest.raises(FileNotFoundError, match='mmhier synth'):
        SyntheticMeshDataset(str(tmp_path), 'train')
    folder = tmp_path / 'annotations'
    folder.mkdir()
    source = people / 'annotations'
    for name, other in (('smpl_train.npz', 'smpl_val.npz'), ('person_keypoints_train.json',) * 2):
        (folder / name).write_bytes((source / other).read_bytes())
    with pytest.raises(ValueError, match='not of the same people'):
        SyntheticMeshDataset(str(tmp_path), 'train')
    (folder / 'human_data_train.npz').write_bytes(b'')
    with pytest.raises(ValueError, match='without --whole-body'):
        SyntheticMeshDataset(str(tmp_path), 'train')
