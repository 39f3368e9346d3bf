"""Whole models of SMPLer-X: the files as released and snapshotted, and what the converted network gives."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhier.body_models.skinning import pose_body
from mmhier.body_models.smpl_file import body_from_arrays
from mmhier.body_models.smplx import SMPLX
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.convert.smplerx import BODY_MODEL, OLD_NAMES, TABLE, convert_smplerx, is_smplerx
from mmhier.models.backbones.vit import ViT
from mmhier.models.heads.smplerx_head import NUM_TOKENS, SMPLerXHead
from mmhier.testing.smplx_file import random_smplx
from mmhier.zoo.conversion import convert_model_file

REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / 'reference' / 'smplerx.py'))['smplerx']
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2)
VIT_NAMES = (
    ('patch_embed.projection', 'patch_embed.proj'), ('layers.0.0.', 'fc1.'), ('ffn.layers.1.', 'mlp.fc2.'),
    ('ffn.fc1.', 'mlp.fc1.'), ('layers.', 'blocks.'), ('ln1.', 'norm1.'), ('ln2.', 'norm2.'),
)  # fmt: skip


class Network(torch.nn.Module):
    """The whole graph at a small width."""

    def __init__(self):
        super().__init__()
        self.backbone = ViT(ARCH, num_task_tokens=NUM_TOKENS, drop_path_rate=0.0)
        self.head = SMPLerXHead(ARCH['embed_dims'])

    def forward(self, images):
        return self.head(self.backbone(images))


@pytest.fixture(scope='module')
def network():
    """Of which no weight is trivial: sharp volumes, boxes of some cells, norms that move."""
    torch.manual_seed(0)
    network = Network().eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            sharp = ('position', 'center_conv', 'pos_embed', 'patch_embed', 'hand_crop')
            value.normal_(0.0, 1.5 if any(word in name for word in sharp) else 0.15)
        if name.endswith('running_var') or ('norm' in name and name.endswith('weight')):
            value.abs_().add_(0.5)
    for part in ('left_hand', 'right_hand', 'face'):
        network.head.box_net.sizes[part][2].bias.data += torch.tensor([3.0, 2.0])
    return network


def official_weights(network):
    """The weights by their official names."""
    state = network.state_dict()
    weights = {}
    for theirs, (ours, parts) in TABLE.items():
        for part in parts:
            weights[f'{theirs}.{part}'] = state.pop(f'head.{ours}.{part}').clone()
    assert not [key for key in state if key.startswith('head.')]
    for key, value in state.items():
        key = key.removeprefix('backbone.')
        if key.startswith('ln1.'):
            key = key.replace('ln1.', 'last_norm.')
        else:
            for ours, theirs in VIT_NAMES:
                key = key.replace(ours, theirs)
        weights[f'encoder.{key}'] = value.clone()
    row = torch.randn_like(weights['encoder.pos_embed'][:, :1])
    weights['encoder.pos_embed'] = torch.cat([row, weights['encoder.pos_embed'] - row], dim=1)
    return weights


@pytest.fixture(scope='module')
def official(network):
    return official_weights(network)


def snapshot(weights):
    """As training writes it: wrapped for several GPUs, beside Adam's state."""
    adam = {
        'state': {0: {'step': 3, 'exp_avg': torch.zeros(2), 'exp_avg_sq': torch.zeros(2)}},
        'param_groups': [{'lr': 1e-5, 'params': [0]}],
    }
    return {'epoch': 9, 'network': {f'module.{k}': v for k, v in weights.items()}, 'optimizer': adam}


def converted_network(file):
    network = Network().eval()
    network.load_state_dict(convert_model_file(file).state_dict)
    return network


def test_file_to_vertices(official, tmp_path):
    """A snapshot through the safe reader and the converter equals the plain arithmetic on whole bodies."""
    torch.save(snapshot(official), tmp_path / 'smpler_x_s32.pth.tar')
    network = converted_network(tmp_path / 'smpler_x_s32.pth.tar')
    images = torch.rand(2, 3, 512, 384, generator=torch.Generator().manual_seed(1))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            expected = REFERENCE({k: v.double() for k, v in official.items()}, images.double(), 2)
            found = network.double()(images[:, :, ::2, ::2].double())
    finally:
        torch.set_default_dtype(torch.float32)
    # Radians, metres, cells and pixels. The volumes are sharp, which costs float32 three digits.
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-6, atol=1e-6)
    assert found.boxes[..., 2:].sub(found.boxes[..., :2]).min() > 10
    assert found.points.std(dim=1).min() > 0.1

    model = body_from_arrays(random_smplx(num_vertices=500, num_faces=400), 'x')
    with torch.no_grad():
        body = SMPLX(model, add_hand_means=True)(**found.body, transl=found.transl)
    zero = torch.zeros(2, 3, dtype=torch.float64)
    means = torch.from_numpy(model.hand_means)
    parts = ('global_orient', 'body_pose', 'jaw_pose', None, None, 'left_hand_pose', 'right_hand_pose')
    pose = [zero if part is None else expected[part] for part in parts]
    pose[5], pose[6] = pose[5] + means[0], pose[6] + means[1]
    plain = body_from_arrays(
        {
            'v_template': model.v_template,
            'shapedirs': np.concatenate([model.shapedirs, model.exprdirs], axis=-1),
            'posedirs': model.posedirs,
            'weights': model.weights,
            'J_regressor': model.J_regressor,
            'kintree_table': np.stack([model.parents, model.parents]),
            'f': model.faces,
        },
        'x',
    )
    shape = torch.cat([expected['betas'], expected['expression']], dim=1)
    truth = pose_body(
        plain, torch.cat(pose, 1).unflatten(1, (55, 3)).numpy(), shape.numpy(), expected['transl'].numpy()
    )
    assert np.abs(body.vertices.numpy() - truth.vertices).max() < 1e-4


def test_every_form_of_a_file(network, official):
    wanted = network.state_dict()
    renamed = {
        next(
            (old + key.removeprefix(new) for old, new in OLD_NAMES.items() if key.startswith(new)), key
        ): value
        for key, value in official.items()
    }
    counters = {key for key in official if key.endswith('num_batches_tracked')}
    assert len(counters) == 6
    bare = {key: value for key, value in official.items() if key not in counters}
    for checkpoint in (official, {'network': official}, snapshot(official), snapshot(renamed)):
        found = convert_smplerx(checkpoint)
        assert found.state_dict.keys() == wanted.keys() and found.format == 'vitpose and smplerx'
        for key, value in found.state_dict.items():
            torch.testing.assert_close(value, wanted[key], rtol=0, atol=1e-6)
    assert len(convert_smplerx(bare).state_dict) == len(wanted) - len(counters)


def test_buffers_of_the_body_model_are_left_out(official):
    found = convert_smplerx(official | {'smplx_layer.v_template': torch.zeros(10475, 3)})
    assert found.dropped['smplx_layer.v_template'] == BODY_MODEL
    assert not [key for key in found.state_dict if 'smplx' in key]


def test_other_files_are_refused(official):
    assert is_smplerx(official) and not is_smplerx({'encoder.pos_embed': torch.zeros(1)})
    with pytest.raises(ValueError, match=r'a\.pth\.tar has keys that no SMPLer-X has: box_net\.more'):
        convert_smplerx(official | {'box_net.more': torch.zeros(1)}, 'a.pth.tar')
    less = {key: value for key, value in official.items() if key != 'face_regressor.expr_out.0.bias'}
    with pytest.raises(ValueError, match=r'is incomplete: it lacks face_regressor\.expr_out\.0\.bias'):
        convert_smplerx(less)
    no_tokens = {key: value for key, value in official.items() if key != 'encoder.task_tokens'}
    with pytest.raises(ValueError, match='no model of SMPLer-X'):
        convert_smplerx(no_tokens)
    no_block = {key: value for key, value in official.items() if 'blocks.1.attn' not in key}
    with pytest.raises(ValueError, match='incomplete'):
        convert_smplerx(no_block)


def test_nothing_in_a_file_is_executed(official, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'made'),)

    torch.save(snapshot(official) | {'cfg': Evil()}, tmp_path / 'a.pth.tar')
    with pytest.raises(ValueError, match=r'mkdir'):
        load_checkpoint_file(tmp_path / 'a.pth.tar')
    assert not (tmp_path / 'made').exists()


def test_its_encoder_initialises_a_plain_one(official, tmp_path):
    """A ViT without task tokens, from the file as it is released."""
    torch.save(snapshot(official), tmp_path / 'smpler_x_s32.pth.tar')
    checkpoint = str(tmp_path / 'smpler_x_s32.pth.tar')
    plain = ViT(ARCH, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    plain.init_weights()
    wanted = convert_smplerx(official).state_dict
    for key, value in plain.state_dict().items():
        assert torch.equal(value, wanted[f'backbone.{key}']), key
