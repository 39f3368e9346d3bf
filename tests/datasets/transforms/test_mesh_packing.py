"""A packed sample has exactly the fields of the table, and a batch can go through the losses."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmhier.datasets.transforms import MeshAffine, PackMeshInputs, RandomMeshBox
from mmhier.mesh_sample import META_KEYS, SMPL_LAYOUT, SMPLX_LAYOUT
from mmhier.models.losses import MeshLoss
from mmhier.models.pose_estimators.topdown_mesh import stack_targets


def sample(seed=0, **changes):
    """A packed random sample."""
    rng = np.random.default_rng(seed)
    results = dict(
        sample_key=f'x#{seed}', dataset_name='x', sample_idx=seed, img_path='x', ori_shape=(100, 120),
        img=rng.integers(0, 256, (100, 120, 3), np.uint8),
        keypoints_2d=rng.uniform(1, 99, (44, 3)).astype(np.float32),
        keypoints_3d=rng.uniform(1, 2, (44, 4)).astype(np.float32),
        global_orient=rng.normal(size=(1, 3)).astype(np.float32),
        body_pose=rng.normal(size=(23, 3)).astype(np.float32),
        betas=rng.normal(size=10).astype(np.float32),
        has_body_pose=1.0, has_betas=1.0, rng=rng,
        center=np.array([60, 50], np.float32), scale=np.array([40, 80], np.float32),
    ) | changes  # fmt: skip
    return PackMeshInputs().transform(MeshAffine().transform(RandomMeshBox().transform(results)))


def test_fields_are_those_of_the_table():
    packed = sample()
    data = packed['data_samples']
    assert packed['inputs'].shape == (3, 256, 192)
    labels, instances = data.gt_instance_labels, data.gt_instances
    assert {name: tuple(value.shape[1:]) for name, value in labels.items()} == SMPL_LAYOUT.label_shapes
    assert all(value.dtype == np.float32 and len(value) == 1 for _, value in labels.items())
    assert {name: value.shape[1:] for name, value in instances.items()} == SMPL_LAYOUT.instance_shapes
    assert set(data.metainfo_keys()) == set(META_KEYS)
    assert (data.input_size, data.img_shape) == ((192, 256), (256, 192))


def test_crop_matrix_and_labels_agree():
    data = sample(3)['data_samples']
    pixels = data.gt_instances.keypoints[0]
    placed = (pixels @ data.crop_matrix[:, :2].T + data.crop_matrix[:, 2]) / 256 - 0.5
    labels = data.gt_instance_labels.keypoints_2d[0, :, :2]
    if data.flip:
        placed = placed[SMPL_LAYOUT.joint_flip]
    np.testing.assert_allclose(placed, labels, atol=1e-5)


def test_batch_goes_through_the_losses():
    batch = pseudo_collate([sample(seed) for seed in range(3)])
    target = stack_targets(batch['data_samples'], torch.device('cpu'))
    predicted = {name: target[name] for name in ('keypoints_2d', 'keypoints_3d', 'betas')}
    eye = torch.eye(3).expand(3, 24, 3, 3)
    losses = MeshLoss()(predicted | dict(global_orient=eye[:, :1], body_pose=eye[:, 1:]), target)
    assert losses['loss_keypoints_2d'] == losses['loss_keypoints_3d'] == losses['loss_betas'] == 0
    assert losses['loss_body_pose'] > 0


def test_whole_bodies_are_packed_by_their_layout():
    rng = np.random.default_rng(0)
    shapes = SMPLX_LAYOUT.annotation_shapes
    fields = {name: rng.uniform(1, 99, shape).astype(np.float32) for name, shape in shapes.items()}
    fields |= dict(layout=SMPLX_LAYOUT, scale=np.array([40, 80], np.float32))
    data = sample(**fields)['data_samples']
    labels, instances = data.gt_instance_labels, data.gt_instances
    assert {name: tuple(value.shape[1:]) for name, value in labels.items()} == SMPLX_LAYOUT.label_shapes
    assert {name: value.shape[1:] for name, value in instances.items()} == SMPLX_LAYOUT.instance_shapes
    assert (data.layout, data.input_size, data.img_shape) == ('smplx', (384, 512), (512, 384))


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r'x#0: betas is \(11,\)'):
        sample(betas=np.zeros(11, np.float32))
