"""Whole mesh models of 4D-Humans and of its truncated kin: names, numbers, what is left out and refused."""

import collections
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from mmhier.convert.hmr2 import (
    BODY_MODEL,
    DISCRIMINATOR_TABLE,
    HEAD_TABLE,
    convert_hmr2,
)
from mmhier.convert.key_table import Part, Shaped
from mmhier.convert.lightning import read_lightning_checkpoint
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.vit import ViT
from mmhier.models.heads.hmr2_head import HMR2Head
from mmhier.models.losses.pose_discriminator import PoseDiscriminator

REFERENCE_HEAD = runpy.run_path(str(Path(__file__).parents[1] / 'reference' / 'hmr2_head.py'))['hmr2_head']
REFERENCE_VIT = runpy.run_path(str(Path(__file__).parents[1] / 'reference' / 'vit.py'))['vit']
VIT_ARCH = dict(embed_dims=12, num_layers=2, num_heads=3)
SWIN_ARCH = dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8])
DECODER = dict(embed_dims=16, num_layers=2, num_heads=4, head_dims=3, feedforward_channels=20)
NAME = 'hmr_swin-s-s3_d2-a4x3-m20'
VIT_NAMES = [
    ('ffn.layers.0.0.', 'mlp.fc1.'),
    ('ffn.layers.1.', 'mlp.fc2.'),
    ('layers.', 'blocks.'),
    ('.ln', '.norm'),
    ('patch_embed.projection.', 'patch_embed.proj.'),
    ('ln1.', 'last_norm.'),
]


class Config(dict):
    """Stands for the objects of OmegaConf in the hyperparameters."""


def mesh_model(backbone, in_channels):
    model = nn.ModuleDict(
        dict(backbone=backbone, head=HMR2Head(in_channels, DECODER), discriminator=PoseDiscriminator())
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    nn.init.normal_(model.head.init_betas)
    return model.eval()


def official_parts(model):
    """Head and discriminator with the official keys, by reading the table from right to left."""
    state, named = model.state_dict(), {}
    for theirs, ours in {**HEAD_TABLE, **DISCRIMINATOR_TABLE}.items():
        name = ours if isinstance(ours, str) else ours.name
        for layer in range(len(model.head.layers)) if '{j}' in name else [0]:
            for part in ('weight', 'bias') if '{p}' in name else ['']:
                value = state[name.replace('{j}', str(layer)).replace('{p}', part)]
                if isinstance(ours, Part):
                    value = value[ours.index : ours.index + 1]
                elif isinstance(ours, Shaped):
                    value = value[None] if 'query' in name else value[:, :, None, None]
                named[theirs.replace('{j}', str(layer)).replace('{p}', part)] = value.clone()
    return named


def lightning(weights):
    return {
        'state_dict': collections.OrderedDict(weights),
        'epoch': 35,
        'global_step': 1000000,
        'pytorch-lightning_version': '1.8.1',
        'hyper_parameters': dict(cfg=Config(MODEL=Config(IMAGE_SIZE=256))),
    }


def rest_of_the_file():
    return {
        'smpl.betas': torch.zeros(1, 10),
        'smpl.v_template': torch.zeros(6890, 3),
        'smpl.vertex_joint_selector.extra_joints_idxs': torch.zeros(21, dtype=torch.long),
        'initialized': torch.tensor(False),
    }


def vit_model():
    return mesh_model(ViT(VIT_ARCH, img_size=(64, 48), drop_path_rate=0.0), VIT_ARCH['embed_dims'])


def vit_weights(model):
    """The official file of a model with a plain ViT."""
    weights = {}
    for key, value in model.backbone.state_dict().items():
        for ours, theirs in VIT_NAMES:
            key = key.replace(ours, theirs) if ours != 'ln1.' or key.startswith('ln1.') else key
        weights[f'backbone.{key}'] = value.clone()
    row = torch.randn(1, 1, VIT_ARCH['embed_dims'])
    weights['backbone.pos_embed'] = torch.cat([row, weights['backbone.pos_embed'] - row], dim=1)
    return weights | official_parts(model) | rest_of_the_file()


def swin_model():
    return mesh_model(TruncatedSwin(SWIN_ARCH, num_stages=3, drop_path_rate=0.0), 32)


def swin_weights(model):
    """A truncated model with an encoder whose keys are OpenMMLab's."""
    encoder = {f'backbone.{key}': value for key, value in model.backbone.state_dict().items()}
    return encoder | official_parts(model) | rest_of_the_file()


def loaded(weights, template, source='checkpoint'):
    """A fresh model with the weights of a file, all of which must fit."""
    model = template()
    model.load_state_dict(convert_hmr2(weights, source).state_dict)
    return model


def test_file_to_prediction(tmp_path):
    """A Lightning file through the safe reader and the converter equals the official arithmetic."""
    model = vit_model()
    weights = vit_weights(model)
    path = tmp_path / 'epoch=35-step=1000000.ckpt'
    torch.save(lightning(weights), path)
    other = loaded(read_lightning_checkpoint(path), vit_model)
    images = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        found = other.head(other.backbone(images))
    encoder = {k.removeprefix('backbone.'): v for k, v in weights.items() if k.startswith('backbone.')}
    decoder = {k.removeprefix('smpl_head.'): v for k, v in weights.items() if k.startswith('smpl_head.')}
    maps = REFERENCE_VIT(encoder, images, VIT_ARCH['num_heads'])
    for ours, theirs in zip(found, REFERENCE_HEAD(decoder, maps, DECODER['num_heads']), strict=True):
        assert (ours - theirs).abs().max() < 1e-4
    pose, betas = torch.randn(3, 23, 3, 3), torch.randn(3, 10)
    assert torch.equal(other.discriminator(pose, betas), model.discriminator(pose, betas))


def test_what_is_left_out_has_a_reason():
    found = convert_hmr2(vit_weights(vit_model()))
    assert found.format == 'vitpose and hmr2'
    assert set(found.dropped) == set(rest_of_the_file())
    assert all(found.dropped[key] == BODY_MODEL for key in rest_of_the_file() if key.startswith('smpl.'))
    assert 'flag' in found.dropped['initialized']


def test_truncated_model_with_its_release_name():
    model = swin_model()
    weights = swin_weights(model)
    found = convert_hmr2(lightning(weights), f'logs/{NAME}/checkpoints/last.ckpt')
    assert found.format == 'openmmlab and hmr2'
    head = HMR2Head(32, DECODER)
    head.load_state_dict(
        {k.removeprefix('head.'): v for k, v in found.state_dict.items() if k.startswith('head.')}
    )
    maps = torch.randn(1, 32, 4, 3)
    with torch.no_grad():
        assert torch.equal(head(maps).rotations, model.head(maps).rotations)


def test_model_without_discriminator():
    weights = {k: v for k, v in vit_weights(vit_model()).items() if not k.startswith('discriminator.')}
    assert not any(key.startswith('discriminator.') for key in convert_hmr2(weights).state_dict)


def test_mean_parameters_are_taken_as_they_are():
    """The official order is a quirk that the trained weights make up for."""
    weights = vit_weights(vit_model())
    weights['smpl_head.init_body_pose'] = torch.arange(144.0)[None]
    assert convert_hmr2(weights).state_dict['head.init_body_pose'][0].tolist() == list(range(144))


def without(key):
    return lambda weights: weights.pop(key)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (without('smpl_head.deccam.bias'), r'lacks head\.camera_readout\.bias'),
        (without('smpl_head.transformer.transformer.layers.0.1.fn.to_kv.weight'), 'cross_attn.kv.weight'),
        (without('smpl_head.init_cam'), 'head.init_cam'),
        (without('smpl_head.decpose.weight'), 'no model of HMR2.0'),
        (without('discriminator.pose_out.7.weight'), 'part of a discriminator.*joint_readout'),
        (without('backbone.blocks.1.norm1.weight'), 'layers.1.ln1.weight'),
        (lambda weights: weights.update({'smpl_head.decface.bias': torch.ones(1)}), 'smpl_head.decface.bias'),
        (lambda weights: weights.update({'optimizer': torch.ones(1)}), 'optimizer'),
        (lambda weights: weights.update({'backbone.extra': torch.ones(1)}), 'backbone.extra'),
    ],
)
def test_files_that_are_something_else(change, message):
    weights = vit_weights(vit_model())
    change(weights)
    with pytest.raises(ValueError, match=message) as error:
        convert_hmr2(weights, 'my.ckpt')
    assert 'my.ckpt' in str(error.value)


def test_pose_models_are_not_mesh_models():
    weights = {k: v for k, v in vit_weights(vit_model()).items() if k.startswith('backbone.')}
    with pytest.raises(ValueError, match=r'no model of HMR2\.0, which has keys backbone'):
        convert_hmr2(weights)
