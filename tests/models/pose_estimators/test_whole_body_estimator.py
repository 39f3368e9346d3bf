"""The estimator with SMPLer-X's head: all losses reach it, predictions are in stated frames."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.body_models.model_directory import load_body_model
from mmhier.geometry.cameras import perspective_projection
from mmhier.mesh_sample import SMPLX_LAYOUT
from mmhier.models.heads.smplerx_head import project
from mmhier.models.losses.whole_body_loss import OFFICIAL_WEIGHTS
from mmhier.testing.mesh_samples import random_mesh_samples
from mmhier.testing.smplx_file import write_smplx_npz

INPUT_WH = (96, 128)
DECODER = dict(embed_dims=16, num_layers=1, num_heads=2, head_dims=8, feedforward_channels=16)
PARTS = ('left_hand_pose', 'right_hand_pose', 'jaw_pose', 'body_pose', 'global_orient')


@pytest.fixture(scope='module')
def body(tmp_path_factory):
    init_default_scope('mmpose')
    path = tmp_path_factory.mktemp('body') / 'smplx.npz'
    write_smplx_npz(path, num_vertices=120, num_faces=90)
    return str(path)


def build(body):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='TopdownMeshEstimator',
            data_preprocessor=dict(type='PoseDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3),
            backbone=dict(
                type='TruncatedSwin',
                arch=dict(embed_dims=8, depths=[1, 1, 1], num_heads=[1, 2, 4], window_size=4),
                num_stages=2,
                drop_path_rate=0.0,
            ),
            neck=dict(type='ResolutionNeck', in_channels=16, in_stride=8, out_channels=16, out_stride=8),
            head=dict(
                type='SMPLerXHead',
                in_channels=16,
                box_channels=8,
                tokens=dict(type='TokenDecoder', arch=DECODER),
            ),
            body_model=body,
        )
    )


def samples(body, count=2):
    return random_mesh_samples(count, input_size_wh=INPUT_WH, layout='smplx', body=body)


def test_every_loss_reaches_the_model(body):
    model = build(body).train()
    data = model.data_preprocessor(pseudo_collate(samples(body)), training=True)
    losses = model.loss(**data)
    assert losses.keys() == {f'loss_{name}' for name in OFFICIAL_WEIGHTS}
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())
    sum(losses.values()).backward()
    missing = {name for name, value in model.named_parameters() if value.grad is None}
    assert not missing
    assert not any(name.startswith('body_model') for name in model.state_dict())


def test_predictions_are_in_stated_frames(body):
    model = build(body).eval()
    batch = pseudo_collate(samples(body))
    data = model.data_preprocessor(batch, training=False)
    with torch.no_grad():
        found = model.predict(**data)
        head = model.head(model.extract_feat(data['inputs']))
    layer = load_body_model(body, SMPLX_LAYOUT.joints, 10, num_expressions=10)  # hands as they are
    for row, sample in enumerate(found):
        said = {name: torch.as_tensor(value) for name, value in sample.pred_instances.items()}
        assert all(value.dtype == torch.float32 and len(value) == 1 for value in said.values())
        assert said.keys() == {
            *PARTS, 'betas', 'expression', 'camera', 'transl', 'focal_length', 'vertices', 'keypoints_3d',
            'keypoints', 'keypoint_scores', 'part_boxes',
        }  # fmt: skip
        posed = layer(**{name: said[name] for name in (*PARTS, 'betas', 'expression')})
        torch.testing.assert_close(posed.vertices, said['vertices'], atol=1e-5, rtol=0)
        torch.testing.assert_close(posed.joints, said['keypoints_3d'], atol=1e-5, rtol=0)
        # What the head places before the camera of the crop is where the keypoints are in the image.
        center, size = torch.as_tensor(sample.box_center), sample.box_size
        pixels = project(said['keypoints_3d'] + head.transl[row])
        seen = (pixels - torch.tensor([96.0, 128.0])) / 256 * size + center
        torch.testing.assert_close(said['keypoints'], seen, atol=1e-2, rtol=0)
        corners = (head.boxes[row].view(3, 2, 2) - torch.tensor([96.0, 128.0])) / 256 * size + center
        torch.testing.assert_close(said['part_boxes'], corners.reshape(1, 3, 4), atol=1e-3, rtol=0)
        width, height = sample.ori_shape[1], sample.ori_shape[0]
        focal = said['focal_length']
        middle = torch.tensor([[width / 2, height / 2]])
        whole = perspective_projection(said['keypoints_3d'], said['transl'], focal, middle)
        assert (whole - said['keypoints']).norm(dim=2).mean() < 0.05 * size


def test_a_sample_of_another_layout_is_refused(body):
    model = build(body)
    mixed = [*samples(body, 1), *random_mesh_samples(1, input_size_wh=INPUT_WH)]
    data = model.data_preprocessor(pseudo_collate(mixed), training=True)
    with pytest.raises(ValueError, match="synth 0 is a sample of the layout 'smpl', the model .* 'smplx'"):
        model.loss(**data)


def test_a_body_without_hands_is_refused():
    with pytest.raises(ValueError, match='only SMPL-X has hands and a face, not "open"'):
        build('open').body()


def test_no_valid_box_of_hands_leaves_the_other_losses_alone(body):
    model = build(body).eval()
    made = samples(body)
    whole = model.loss(**model.data_preprocessor(pseudo_collate(made), training=True))
    for sample in made:
        boxes = np.array(sample['data_samples'].gt_instance_labels.part_boxes)
        boxes[:, :2, 4] = 0
        kind = type(sample['data_samples'].gt_instance_labels.part_boxes)
        as_before = torch.from_numpy(boxes) if kind is torch.Tensor else boxes
        sample['data_samples'].gt_instance_labels.part_boxes = as_before
    found = model.loss(**model.data_preprocessor(pseudo_collate(made), training=True))
    assert whole.keys() - found.keys() == {'loss_left_hand_box', 'loss_right_hand_box'}
    for name, value in found.items():
        torch.testing.assert_close(value, whole[name])
