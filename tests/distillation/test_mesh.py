import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.distillation.mesh import WEIGHTS
from mmhier.inference.estimators import load_estimator
from mmhier.testing.mesh_samples import random_mesh_samples

INPUT_WH = (96, 128)
BASE = """
_base_ = '{root}/configs/hmr/swinhmr2_micro_s3_synth.py'
model = dict(
    data_preprocessor=dict(_delete_=True, type='PoseDataPreprocessor', mean=[1, 2, 3], std=[9, 9, 9]),
    backbone=dict(arch=dict(embed_dims=8, depths=[1, 1, 1, 1]), init_cfg=None),
    neck=dict(in_channels=32, out_channels=32),
    head=dict(in_channels=32, arch=dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=16)),
    discriminator=None,
    adversarial_loss=None,
    mocap=None,
)
"""
STUDENT = """
_base_ = './mesh.py'
model = dict(type='DistilledMeshEstimator', teacher=dict(config='mesh.py', checkpoint='mesh.pth'))
"""


@pytest.fixture
def build(anny, tmp_path, repo_root, monkeypatch):
    """Build a student, with changes; its teacher is in the current folder."""
    monkeypatch.chdir(tmp_path)
    init_default_scope('mmpose')
    (tmp_path / 'mesh.py').write_text(BASE.format(root=repo_root))
    (tmp_path / 'mesh_student.py').write_text(STUDENT)
    torch.manual_seed(1)
    teacher = MODELS.build(Config.fromfile('mesh.py').model)
    torch.save(dict(state_dict=teacher.state_dict()), 'mesh.pth')

    def make(**changes):
        cfg = Config.fromfile('mesh_student.py')
        cfg.merge_from_dict(changes)
        torch.manual_seed(0)
        return MODELS.build(cfg.model)

    return make


def losses_of(model, count=3):
    data = pseudo_collate(random_mesh_samples(count, input_size_wh=INPUT_WH))
    return model(**model.data_preprocessor(data, True), mode='loss')


def test_the_body_of_the_teacher_is_the_target(build):
    model = build().eval()
    losses = losses_of(model)
    names = {f'loss_teacher_{name}' for name in WEIGHTS}
    assert names <= losses.keys() and all(losses[name] > 0 for name in names)
    teacher = load_estimator('mesh.py', 'mesh.pth', 'cpu').model
    data = pseudo_collate(random_mesh_samples(3, input_size_wh=INPUT_WH))
    inputs = model.data_preprocessor(data, True)['inputs']
    own, wanted = model.predict_bodies(inputs), teacher.predict_bodies(inputs)
    # reference_batch of the config is 48
    betas = 0.0005 * 48 / 3 * (own['betas'] - wanted['betas']).square().sum()
    assert losses['loss_teacher_betas'].item() == pytest.approx(betas.item(), rel=1e-4)
    surface = 2.2 * 48 / 3 * (own['vertices'] - wanted['vertices']).abs().sum(2).mean(1).sum()
    assert losses['loss_teacher_vertices'].item() == pytest.approx(surface.item(), rel=1e-4)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it(build):
    model = build().eval()
    model.load_state_dict(torch.load('mesh.pth', weights_only=True)['state_dict'])
    losses = losses_of(model)
    assert all(value < 1e-6 for name, value in losses.items() if name.startswith('loss_teacher'))
    assert losses['loss_body_pose'] > 0


def test_the_teacher_is_no_part_of_the_student(build):
    model = build().train()
    plain = model.state_dict().keys()
    losses = losses_of(model)
    sum(value for name, value in losses.items() if name.startswith('loss_teacher')).backward()
    assert (
        model.state_dict().keys() == plain == torch.load('mesh.pth', weights_only=True)['state_dict'].keys()
    )
    assert all(parameter.grad is None for parameter in model.teacher.network().parameters())
    assert model.head.pose_readout.weight.grad.abs().sum() > 0
    assert model.backbone.patch_embed.projection.weight.grad.abs().sum() > 0


def test_some_targets_only(build):
    losses = losses_of(build(**{'model.teacher_weights': dict(betas=1.0)}))
    assert [name for name in losses if 'teacher' in name] == ['loss_teacher_betas']


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (
            {'model.body_model': 'neutral'},
            "model.body_model is 'neutral', that of the teacher mesh.py 'open'",
        ),
        ({'model.teacher.config': 'swinpose_micro_s3_synth'}, 'a mesh model learns from a TopdownMeshEst'),
        ({'model.data_preprocessor.std': [1, 1, 1]}, 'data_preprocessor.std'),
        ({'model.teacher_weights': dict(beta=1.0)}, 'teacher_weights takes global_orient'),
    ],
)
def test_what_does_not_fit_is_said(build, changes, words):
    with pytest.raises(ValueError, match=words):
        model = build(**changes)
        model.body = lambda: None
        model.predict_bodies = lambda inputs, vertices: {}
        losses_of(model)
