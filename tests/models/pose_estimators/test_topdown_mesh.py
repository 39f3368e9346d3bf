"""The mesh estimator is its parts in a row, supervises what it should and predicts in stated frames."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS, MODELS

from mmhier.body_models.model_directory import load_body_model
from mmhier.geometry.cameras import perspective_projection
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.models.heads import HMR2Prediction
from mmhier.models.pose_estimators.topdown_mesh import stack_targets
from mmhier.testing.mesh_samples import random_mesh_samples

INPUT_WH = (96, 128)
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
CONFIG = dict(
    type='TopdownMeshEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=MEAN, std=STD, bgr_to_rgb=True),
    backbone=dict(
        type='TruncatedSwin',
        arch=dict(embed_dims=8, depths=[1, 1, 1], num_heads=[1, 2, 4], window_size=4),
        num_stages=2,
        drop_path_rate=0.0,
    ),
    neck=dict(type='ResolutionNeck', in_channels=16, in_stride=8, out_channels=32),
    head=dict(
        type='HMR2Head',
        in_channels=32,
        arch=dict(embed_dims=24, num_layers=2, num_heads=2, head_dims=8, feedforward_channels=16),
    ),
)
PRIOR = dict(
    discriminator=dict(type='PoseDiscriminator'),
    adversarial_loss=dict(type='AdversarialLoss'),
    mocap=dict(type='FourPeople'),
)
OPTIMIZERS = dict(
    constructor='AdversarialConstructor',
    generator=dict(
        optimizer=dict(type='AdamW', lr=1e-3),
        constructor='LayerIdDecayConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.5),
    ),
    discriminator=dict(optimizer=dict(type='AdamW', lr=1e-3)),
)


@DATASETS.register_module()
class FourPeople:
    """Stands in for motion capture."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(body_pose=np.full((23, 3), 0.1 * index, np.float32), betas=np.zeros(10, np.float32))


@pytest.fixture(scope='module', autouse=True)
def _scope():
    init_default_scope('mmpose')


def build(**more):
    torch.manual_seed(0)
    return MODELS.build({**CONFIG, **more})


def batch(count=3, **more):
    return pseudo_collate(random_mesh_samples(count, input_size_wh=INPUT_WH, **more))


def perfect_head(data):
    """A head that knows the ground truth: parameters from the labels, the camera from the joints."""
    samples = data['data_samples']
    labels = stack_targets(samples, torch.device('cpu'))
    pose, betas = torch.cat([labels['global_orient'], labels['body_pose']], 1), labels['betas']
    joints = load_body_model('open', 'hmr44')(betas, pose[:, 1:], pose[:, :1]).joints
    transl = (labels['keypoints_3d'] - joints).mean(1)
    cameras = []
    for sample, shift in zip(samples, transl, strict=True):
        focal = 5000 / 256 * max(sample.ori_shape)
        scale = 2 * focal / (sample.box_size * shift[2])
        to_center = torch.tensor(sample.box_center) - torch.tensor(sample.ori_shape[::-1]) / 2
        cameras.append(torch.tensor([scale, *(shift[:2] - 2 * to_center / (sample.box_size * scale))]))
    return HMR2Prediction(axis_angle_to_matrix(pose), betas, torch.stack(cameras)), joints, transl


def test_tensor_mode_is_plain_composition():
    model = build().eval()
    data = model.data_preprocessor(batch())
    with torch.no_grad():
        out = model(**data, mode='tensor')
        images = torch.stack(batch()['inputs']).flip(1).float()
        images = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        rotations, betas, camera = model.head(model.neck(model.backbone(images)))
        vertices, joints, _ = load_body_model('open', 'hmr44')(betas, rotations[:, 1:], rotations[:, :1])
        depth = 2 * 5000 / (256 * camera[:, :1])
        placed = joints + torch.cat([camera[:, 1:], depth], 1)[:, None]
        projected = 5000 / 256 * placed[..., :2] / placed[..., 2:]
    torch.testing.assert_close(out['vertices'], vertices)
    torch.testing.assert_close(out['keypoints_3d'], joints)
    torch.testing.assert_close(out['keypoints_2d'], projected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat([out['global_orient'], out['body_pose']], 1), rotations)
    assert out['betas'].shape == (3, 10) and out['camera'].shape == (3, 3)


def test_perfect_parameters_give_the_annotated_image(monkeypatch):
    """Frames and units: placed in the full image's camera, the body lies on its annotation."""
    model, data = build().eval(), batch(4)
    prediction, joints, transl = perfect_head(data)
    monkeypatch.setattr(model.head, 'forward', lambda maps: prediction)
    with torch.no_grad():
        samples = model.test_step(data)
    assert len(samples) == 4
    for index, sample in enumerate(samples):
        found, truth = sample.pred_instances, sample.gt_instances
        assert len(found) == 1
        np.testing.assert_allclose(found.transl[0], transl[index], atol=2e-3)
        placed = torch.tensor(found.vertices + found.transl)
        size = torch.tensor(sample.ori_shape[::-1])
        focal = float(found.focal_length[0])
        seen = perspective_projection(
            torch.tensor(found.keypoints_3d + found.transl), None, focal, size[None] / 2
        )
        np.testing.assert_allclose(seen, truth.keypoints, atol=0.05)
        # the crop's camera looks straight at the person, a little turned from the image's
        np.testing.assert_allclose(found.keypoints, truth.keypoints, atol=1.0)
        np.testing.assert_allclose(found.keypoints_3d[0], joints[index], atol=1e-5)
        assert (placed[..., 2] > 0).all()
        assert (found.keypoint_scores == 1).all() and found.keypoint_scores.shape == (1, 44)


def test_perfect_parameters_have_no_loss(monkeypatch):
    model, data = build(), batch(4)
    prediction, _, _ = perfect_head(data)
    monkeypatch.setattr(model.head, 'forward', lambda maps: prediction)
    losses = model(**model.data_preprocessor(data), mode='loss')
    assert set(losses) == {
        f'loss_{name}' for name in ('keypoints_2d', 'keypoints_3d', 'global_orient', 'body_pose', 'betas')
    }
    # of 4 x 44 joints; the two cameras differ a little
    assert losses.pop('loss_keypoints_2d') < 0.01 * 4 * 44 * 2 * 2e-3
    assert all(value < 1e-3 for value in losses.values())


def test_supervision_is_per_person():
    model, data = build(), batch(3)
    samples = data['data_samples']
    full = model(**model.data_preprocessor(data), mode='loss')
    for name in ('has_global_orient', 'has_body_pose', 'has_betas'):
        samples[1].gt_instance_labels[name] = np.zeros(1, np.float32)
    samples[1].gt_instance_labels.body_pose = np.full((1, 23, 3), np.nan, np.float32)
    samples[1].gt_instance_labels.keypoints_3d[..., 3] = 0
    part = model(**model.data_preprocessor(data), mode='loss')
    others = pseudo_collate([dict(inputs=data['inputs'][i], data_samples=samples[i]) for i in (0, 2)])
    expected = model(**model.data_preprocessor(others), mode='loss')
    for name in ('keypoints_3d', 'global_orient', 'body_pose', 'betas'):
        torch.testing.assert_close(part[f'loss_{name}'], expected[f'loss_{name}'], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(part['loss_keypoints_2d'], full['loss_keypoints_2d'])


def test_training_fits_a_batch_with_the_prior():
    model = build(**PRIOR)
    model.init_weights()
    wrapper = build_optim_wrapper(model, OPTIMIZERS)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    logs = [model.train_step(batch(4), wrapper) for _ in range(12)]
    parts = ('keypoints_2d', 'keypoints_3d', 'global_orient', 'body_pose', 'betas', 'adversarial')
    assert set(logs[0]) == {'loss', 'loss_discriminator', *(f'loss_{name}' for name in parts)}
    total = sum(logs[0][f'loss_{name}'] for name in parts)
    torch.testing.assert_close(logs[0]['loss'], total)
    assert logs[-1]['loss'] < 0.7 * logs[0]['loss']
    assert logs[-1]['loss_discriminator'] < 0.8 * logs[0]['loss_discriminator']
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert still == ['head.query.weight'], 'the query is that layer applied to zero: only its bias matters'


def test_each_loss_reaches_one_optimizer():
    model = build(**PRIOR)
    losses, _ = model.parse_losses(model(**model.data_preprocessor(batch()), mode='loss'))
    losses['generator'].backward()
    assert all(p.grad is None for p in model.discriminator.parameters())
    assert all(p.grad is not None for name, p in model.named_parameters() if name[:4] != 'disc')
    model.zero_grad(set_to_none=True)
    losses['discriminator'].backward()
    assert all(p.grad is not None for p in model.discriminator.parameters())
    assert all(p.grad is None for name, p in model.named_parameters() if name[:4] != 'disc')


def test_autocast_leaves_the_geometry_in_full_precision():
    model, data = build(**PRIOR), batch()
    with torch.autocast('cpu', torch.bfloat16):
        out = model.predict_bodies(model.data_preprocessor(data)['inputs'])
        losses = model(**model.data_preprocessor(data), mode='loss')
    assert {value.dtype for value in out.values()} == {torch.float32}
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())


def test_predictions_with_gradients_are_those_without():
    """MMPose's data flow switches gradients off, a loop of one's own may not."""
    model = build().eval()
    found = []
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            samples = model(**model.data_preprocessor(batch()), mode='predict')
        found.append(np.concatenate([sample.pred_instances.vertices for sample in samples]))
    np.testing.assert_allclose(*found, atol=1e-6)


def test_training_after_a_first_prediction_in_inference_mode():
    """The body is loaded by whoever comes first; its buffers must serve all."""
    model = build(**PRIOR)
    with torch.inference_mode():
        model.eval()(**model.data_preprocessor(batch()), mode='predict')
    assert not any(buffer.is_inference() for buffer in model.body().buffers())
    losses = model.train()(**model.data_preprocessor(batch()), mode='loss')
    model.parse_losses(losses)[0]['generator'].backward()
    assert model.head.pose_readout.weight.grad.any()


def test_checkpoints_hold_no_body_model():
    model = build()
    model(torch.zeros(1, 3, 128, 96), None)
    assert model.body().num_vertices > 0
    assert {name.split('.')[0] for name in model.state_dict()} == {'backbone', 'neck', 'head'}


def test_can_be_exported():
    model = build().eval()
    model.body()
    images = torch.rand(2, 3, 128, 96)
    program = torch.export.export(model, (images,), dict(data_samples=None))
    torch.testing.assert_close(program.module()(images, data_samples=None), model(images, None))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(discriminator=PRIOR['discriminator']), 'adversarial_loss, mocap not set'),
        (dict(body_model='giraffe'), 'no body model "giraffe"'),
        (dict(joints='hmr45'), 'no joint set "hmr45"'),
    ],
)
def test_errors_name_the_value(change, message):
    with pytest.raises(ValueError, match=message):
        build(**change)(torch.zeros(1, 3, 128, 96), None)


def test_mirrored_crops_are_not_evaluated():
    model, data = build().eval(), batch(2)
    data['data_samples'][1].set_field(True, 'flip', field_type='metainfo')
    with pytest.raises(ValueError, match='synth 1: the crop is mirrored'):
        model.test_step(data)


def test_people_of_the_prior_follow_the_seed_and_the_process(monkeypatch):
    """A step that is repeated with the same seed draws the same people; another process draws others."""
    model = build(**PRIOR)

    def draw(seed, rank):
        monkeypatch.setattr('mmhier.models.pose_estimators.topdown_mesh.get_rank', lambda: rank)
        torch.manual_seed(seed)
        return model._draw_real(50)[0]

    first = draw(1, 0)
    for seed, rank in ((1, 1), (2, 0)):
        assert not torch.equal(draw(seed, rank), first)
    assert torch.equal(draw(1, 0), first)
