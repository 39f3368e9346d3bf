"""``mmhier convert``: files in, files out."""

import argparse
import collections

import pytest
import torch

from mmhier.cli.main import main
from mmhier.compat.checkpoint import TRUST_VARIABLE
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.vit import ViT

ARCH = dict(embed_dims=8, depths=[1, 1, 1], num_heads=[1, 2, 4])


def convert(*arguments):
    return main(['convert', *map(str, arguments)])


@pytest.fixture
def source(tmp_path):
    """A file as MMPose writes them."""
    path = tmp_path / 'in.pth'
    state = {f'backbone.{key}': value for key, value in TruncatedSwin(ARCH).state_dict().items()}
    torch.save(dict(state_dict=state | {'head.bias': torch.zeros(1)}, meta=dict(epoch=1)), path)
    return path


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_written_file_loads(source, tmp_path, ending, capsys):
    if ending == '.safetensors':
        pytest.importorskip('safetensors')
    target = tmp_path / 'new' / f'out{ending}'
    assert convert(source, target, '--num-stages', 2) == 0
    text = capsys.readouterr().out
    assert 'openmmlab' in text and 'stage 3 is not kept' in text and 'not part of the backbone' in text
    network = TruncatedSwin(ARCH, num_stages=2, init_cfg=dict(type='Pretrained', checkpoint=str(target)))
    network.init_weights()
    saved = torch.load(source, weights_only=True)['state_dict']
    for key in ('stages.1.blocks.0.norm1.weight', 'stages.0.downsample.reduction.weight'):
        assert torch.equal(network.state_dict()[key], saved[f'backbone.{key}'])
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_stages_of_a_model(tmp_path, capsys):
    path, target = tmp_path / 'swin.pth', tmp_path / 'out.pth'
    torch.save(TruncatedSwin('tiny').state_dict(), path)
    assert convert(path, target, '--model', 'swinpose_t_s2') == 0
    kept = torch.load(target, weights_only=True)['state_dict'].keys()
    assert convert(path, target, '--num-stages', 2) == 0
    assert kept == torch.load(target, weights_only=True)['state_dict'].keys()
    assert convert(path, target, '--model', 'swinpose_t_s2', '--num-stages', 2) == 1
    assert 'leave out --num-stages' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--num-stages', '4'), 'has 3 stages; 4 cannot be kept'),
        (('--prefix', 'teacher.'), "under 'teacher.'"),
    ],
)
def test_bad_requests_are_one_line(source, tmp_path, arguments, message, capsys):
    target = tmp_path / 'out.pth'
    assert convert(source, target, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not target.exists()


def test_bad_files_are_named(source, tmp_path, capsys):
    assert convert(tmp_path / 'absent.pth', tmp_path / 'out.pth') == 1
    assert 'absent.pth' in capsys.readouterr().err
    assert convert(source, tmp_path / 'out.txt') == 1
    assert 'out.txt must end in one of' in capsys.readouterr().err
    (tmp_path / 'torn.pth').write_bytes(source.read_bytes()[:500])
    assert convert(tmp_path / 'torn.pth', tmp_path / 'out.pth') == 1
    assert 'torn.pth' in capsys.readouterr().err


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / 'executed'), 'w'))

    torch.save(dict(state_dict=dict(bomb=Bomb())), tmp_path / 'bomb.pth')
    assert convert(tmp_path / 'bomb.pth', tmp_path / 'out.pth') == 1
    assert 'bomb.pth' in capsys.readouterr().err
    assert not (tmp_path / 'executed').exists()


def in_old_names(network):
    """A ViT with ViTPose 0.x's names."""
    renames = [
        ('.ffn.layers.0.0.', '.mlp.fc1.'),
        ('.ffn.layers.1.', '.mlp.fc2.'),
        ('layers.', 'blocks.'),
        ('.ln1.', '.norm1.'),
        ('.ln2.', '.norm2.'),
        ('patch_embed.projection', 'patch_embed.proj'),
    ]
    state = {}
    for key, value in network.state_dict().items():
        for ours, theirs in renames:
            key = key.replace(ours, theirs)
        key = key.replace('ln1.', 'last_norm.') if key.startswith('ln1.') else key
        if key == 'pos_embed':
            value = torch.cat([torch.ones_like(value[:, :1]), value - 1], dim=1)
        state[f'backbone.{key}'] = value
    return state


def test_whole_vitpose_model(tmp_path, capsys):
    arch = dict(embed_dims=8, num_layers=2, num_heads=2)
    network = ViT(arch)
    state = in_old_names(network) | {'keypoint_head.final_layer.weight': torch.ones(17, 8, 1, 1)}
    torch.save(dict(state_dict=state), tmp_path / 'in.pth')
    assert convert(tmp_path / 'in.pth', tmp_path / 'out.pth', '--whole-model') == 0
    found = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']
    expected = {f'backbone.{key}' for key in network.state_dict()} | {'head.final_layer.weight'}
    assert set(found) == expected
    torch.testing.assert_close(found['backbone.pos_embed'], network.pos_embed.data)
    assert convert(tmp_path / 'in.pth', tmp_path / 'no.pth', '--whole-model', '--num-stages', 2) == 1
    assert '--whole-model goes without' in capsys.readouterr().err


def test_dataset_is_for_vitpose(source, tmp_path, capsys):
    assert convert(source, tmp_path / 'no.pth', '--dataset', 'coco') == 1
    assert 'holds a Swin' in capsys.readouterr().err


def test_lightning_file_of_a_mesh_model_goes_to_its_converter(tmp_path, capsys):
    """Objects beside the weights are read as nothing; that this file lacks most of a model is named."""
    content = dict(
        state_dict={'smpl_head.init_cam': torch.zeros(1, 3)}, hyper_parameters=argparse.Namespace(a=1)
    )
    torch.save(content, tmp_path / 'last.ckpt')
    assert convert(tmp_path / 'last.ckpt', tmp_path / 'out.pth', '--whole-model') == 1
    assert 'last.ckpt is no model of HMR2.0' in capsys.readouterr().err


def test_a_file_that_needs_trust_is_converted_with_it(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(TRUST_VARIABLE, '')
    content = torch.load(source)
    torch.save({**content, 'args': collections.Counter('ab'), 'options': argparse.Namespace(lr=1e-3)}, source)
    target = tmp_path / 'out.pth'
    assert convert(source, target) == 1
    assert '--trust-checkpoint' in capsys.readouterr().err and not target.exists()
    assert convert(source, target, '--trust-checkpoint') == 0
    assert target.exists()
