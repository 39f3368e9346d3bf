"""Swin weights of four projects: names, shapes, numbers, and what is refused."""

import logging
import re

import pytest
import torch
from mmengine.logging import MMLogger
from mmpose.models.backbones import SwinTransformer
from mmpose.registry import MODELS

from mmhier.convert.key_table import convert, detect_format, fit, unwrap
from mmhier.convert.swin import SWIN
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.testing.released_weights import classifier, quarters_first, swin_of_microsoft

ARCH = dict(embed_dims=8, depths=[1, 2, 2, 1], num_heads=[1, 2, 2, 4], window_size=7)
FORMATS = ('microsoft', 'openmmlab', 'timm', 'huggingface', 'huggingface5')
IMAGES_HW = (80, 52)


@pytest.fixture
def network():
    """All stages, with weights of which none is trivial."""
    network = TruncatedSwin(ARCH, drop_path_rate=0.0).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def in_format(network, name):
    """The state dictionary that another project would have, by renaming ours."""
    ours = network.state_dict()
    if name == 'microsoft':
        return swin_of_microsoft(ours)
    if name == 'timm':
        return timm(ours)
    state = {}
    for key, value in ours.items():
        if name == 'openmmlab':
            state[f'backbone.{key}'] = value
        else:
            value = quarters_first(value) if 'downsample' in key else value
            state |= hugging_face(key, value, name == 'huggingface5')
    return state | classifier(ARCH['embed_dims'] * 8, dict(openmmlab='head.fc').get(name, 'classifier'))


def timm(ours):
    """As Microsoft's without buffers; a merge belongs to the stage behind it."""
    state = {}
    for key, value in swin_of_microsoft(ours).items():
        if key.endswith(('relative_position_index', 'attn_mask')):
            continue
        if 'downsample' in key:
            key = re.sub(r'(?<=layers\.)\d', lambda digit: str(int(digit[0]) + 1), key)
        state[re.sub('^head', 'head.fc', key)] = value
    return state


def hugging_face(key, value, version5):
    replacements = [
        ('patch_embed.projection', 'embeddings.patch_embeddings.projection'),
        ('norm3', 'layernorm'),
    ]
    replacements += [('patch_embed.norm', 'embeddings.norm'), ('stages.', 'encoder.layers.')]
    replacements += [('norm1', 'layernorm_before'), ('norm2', 'layernorm_after')]
    if version5:
        replacements += [('attn.w_msa.proj', 'attention.o_proj'), ('ffn.layers.0.0', 'mlp.fc1')]
        replacements += [('ffn.layers.1', 'mlp.fc2')]
        replacements += [('attn.w_msa.relative', 'attention.relative_position_bias.relative')]
        thirds = [f'attention.{part}_proj' for part in 'qkv']
    else:
        replacements += [
            ('attn.w_msa.proj', 'attention.output.dense'),
            ('ffn.layers.0.0', 'intermediate.dense'),
        ]
        replacements += [('ffn.layers.1', 'output.dense'), ('attn.w_msa.relative', 'attention.self.relative')]
        thirds = [f'attention.self.{part}' for part in ('query', 'key', 'value')]
    for ours, theirs in replacements:
        key = key.replace(ours, theirs)
    if 'attn.w_msa.qkv' not in key:
        return {f'swin.{key}': value}
    parts = zip(thirds, value.chunk(3), strict=True)
    return {'swin.' + key.replace('attn.w_msa.qkv', third): part for third, part in parts}


def save(state, path, wrapper='state_dict'):
    torch.save({wrapper: state} if wrapper else state, path)
    return str(path)


@pytest.fixture
def messages(monkeypatch):
    """What was logged."""
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    monkeypatch.setattr(logger, 'disabled', False)
    yield found
    logger.removeHandler(handler)


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize('stages', [1, 2, 3, 4])
def test_every_format_loads_into_every_truncation(name, stages, network, tmp_path, messages):
    path = save(
        in_format(network, name), tmp_path / 'swin.pth', 'model' if name == 'microsoft' else 'state_dict'
    )
    kept = MODELS.build(
        dict(
            type='TruncatedSwin',
            arch=ARCH,
            num_stages=stages,
            init_cfg=dict(type='Pretrained', checkpoint=path),
        )
    )
    initial = {key: value.clone() for key, value in kept.state_dict().items()}
    kept.init_weights()
    source = network.state_dict()
    closing = f'norm{stages - 1}.'
    for key, value in kept.state_dict().items():
        if stages < 4 and key.startswith(closing):
            assert torch.equal(value, initial[key]), key
        else:
            assert torch.equal(value, source[key]), key
    (message,) = [text for text in messages if text.startswith(f'{path}: loaded')]
    assert name.rstrip('5') in message
    assert 'left out' in message
    if stages < 4:
        assert f'stage {stages + 1} is not kept' in message
        assert f'initial value: {closing}weight, {closing}bias' in message


@pytest.mark.parametrize('name', FORMATS)
def test_every_key_is_accounted_for(name, network):
    state = in_format(network, name)
    converted = convert(SWIN, state, num_stages=2)
    assert converted.format == name.rstrip('5')
    thirds = 2 if name.startswith('huggingface') else 0
    blocks = sum(ARCH['depths'][:2])
    assert len(converted.state_dict) + len(converted.dropped) + 2 * thirds * blocks == len(state)
    assert all(reason for reason in converted.dropped.values())
    assert not set(converted.dropped) - set(state)


@pytest.mark.parametrize('name', FORMATS)
def test_conversion_is_pure(name, network):
    state = in_format(network, name)
    before = {key: value.clone() for key, value in state.items()}
    convert(SWIN, state, num_stages=3)
    assert all(torch.equal(value, before[key]) for key, value in state.items())
    assert len(state) == len(before)


def test_order_of_patch_merging_by_hand():
    """Two channels a, b; places 00 10 01 11 in Microsoft's order, 00 01 10 11 in OpenMMLab's."""
    names = ['a00', 'b00', 'a10', 'b10', 'a01', 'b01', 'a11', 'b11']
    expected = ['a00', 'a01', 'a10', 'a11', 'b00', 'b01', 'b10', 'b11']
    template = in_format(TruncatedSwin({**ARCH, 'embed_dims': 2, 'num_heads': [1, 1, 1, 1]}), 'microsoft')
    template['layers.0.downsample.norm.weight'] = torch.arange(8.0)
    found = convert(SWIN, template).state_dict['stages.0.downsample.norm.weight']
    assert [names[int(index)] for index in found] == expected


@pytest.mark.parametrize('convention', ['detection', 'classification'])
def test_numbers_of_timm(convention):
    """Where the conventions agree: stages 1 to 3 at 224 pixels in both, stage 4 as in classification."""
    timm = pytest.importorskip('timm')
    theirs = timm.create_model('swin_tiny_patch4_window7_224', num_classes=5).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    outputs = (0, 1, 2) if convention == 'detection' else (0, 1, 2, 3)
    ours = TruncatedSwin('tiny', out_indices=outputs, window_convention=convention).eval()
    report = _load(ours, theirs.state_dict())
    assert report.format == 'timm'
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        found = ours(images)
        expected = theirs.forward_intermediates(images, intermediates_only=True)
        for index, out in zip(outputs, found, strict=True):
            norm = getattr(ours, f'norm{index}')
            reference = norm(expected[index].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            assert (out - reference).abs().max() < 1e-5
        if convention == 'classification':
            last = theirs.forward_features(images).permute(0, 3, 1, 2)
            assert (found[3] - last).abs().max() < 1e-5


def _load(network, state):
    kept = network.truncation
    weights, report = fit(SWIN, state, network.state_dict(), kept.num_stages, kept.out_indices)
    network.load_state_dict({**network.state_dict(), **weights})
    return report


def test_microsoft_file_loads_here_and_not_in_mmpose(network, tmp_path):
    """MMPose 1.3 looks for ``state_dict`` only, finds no key of its own in ``model``, and says nothing."""
    path = save(in_format(network, 'microsoft'), tmp_path / 'swin.pth', 'model')
    theirs = SwinTransformer(
        embed_dims=ARCH['embed_dims'],
        depths=ARCH['depths'],
        num_heads=ARCH['num_heads'],
        init_cfg=dict(type='Pretrained', checkpoint=path),
    )
    before = {key: value.clone() for key, value in theirs.state_dict().items()}
    theirs.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in theirs.state_dict().items())

    ours = TruncatedSwin(ARCH, num_stages=4, init_cfg=dict(type='Pretrained', checkpoint=path))
    ours.init_weights()
    expected = network.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in ours.state_dict().items())


def test_backbone_of_a_whole_pose_model(network, tmp_path):
    state = {f'backbone.{key}': value for key, value in network.state_dict().items()}
    state['head.final_layer.weight'] = torch.zeros(17, 8, 1, 1)
    path = save(state, tmp_path / 'pose.pth')
    ours = TruncatedSwin(ARCH, num_stages=3, init_cfg=[dict(type='Pretrained', checkpoint=path)])
    ours.init_weights()
    key = 'stages.2.blocks.1.norm1.weight'
    assert torch.equal(ours.state_dict()[key], network.state_dict()[key])
    assert convert(SWIN, state).dropped == {'head.final_layer.weight': 'not part of the backbone'}


def test_own_truncated_model_loads_with_its_closing_norm(network, tmp_path):
    kept = TruncatedSwin(ARCH, out_indices=(0, 2))
    torch.nn.init.normal_(kept.norm0.weight)
    path = save(kept.state_dict(), tmp_path / 'own.pth', None)
    again = TruncatedSwin(ARCH, out_indices=(0, 2), init_cfg=dict(type='Pretrained', checkpoint=path))
    again.init_weights()
    assert torch.equal(again.norm0.weight, kept.norm0.weight)


def test_several_networks_need_a_prefix(network):
    state = {
        f'{who}.{key}': value for who in ('teacher', 'student') for key, value in network.state_dict().items()
    }
    with pytest.raises(ValueError, match=r"several networks.*'teacher.', 'student.'.*prefix="):
        convert(SWIN, state)
    assert set(convert(SWIN, state, prefix='student.').state_dict) == set(network.state_dict())
    with pytest.raises(ValueError, match=r"under 'x.', only under \['teacher.', 'student.'\]"):
        convert(SWIN, state, prefix='x.')


def test_half_precision_file_keeps_the_network_in_float32(network, tmp_path):
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    path = save(state, tmp_path / 'half.pth')
    ours = TruncatedSwin(ARCH, init_cfg=dict(type='Pretrained', checkpoint=path))
    ours.init_weights()
    assert {p.dtype for p in ours.parameters()} == {torch.float32}


@pytest.mark.parametrize('name', FORMATS)
def test_unknown_key_is_named(name, network):
    state = in_format(network, name)
    prefix = detect_format(SWIN, state)[1]
    state[f'{prefix}absolute_pos_embed'] = torch.zeros(1)
    with pytest.raises(ValueError, match='here.pth has keys that no Swin of .* has: .*absolute_pos_embed'):
        convert(SWIN, state, source='here.pth')


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize('part', ['bias_table', 'norm', 'downsample.reduction', 'query|qkv|q_proj'])
def test_missing_key_is_named(name, part, network):
    state = in_format(network, name)
    closing = ('norm.weight', 'layernorm.weight', 'norm3.weight')
    first = next(key for key in state if re.search(part, key) and not key.endswith(closing))
    del state[first]
    with pytest.raises(ValueError, match='here.pth .* is incomplete: it lacks (stages|patch_embed)'):
        convert(SWIN, state, source='here.pth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(embed_dims=16), r'patch_embed.projection.weight is \(8, 3, 4, 4\) in the file and \(16'),
        (dict(depths=[1, 2, 1, 1]), 'stages.2.blocks.1.* has no place in the network'),
        (dict(depths=[1, 2, 3, 1]), 'stages.2.blocks.2.norm1.weight is missing'),
        (dict(window_size=12), r'\(169, 1\) in the file and \(529, 1\).*windows of 7, the network .*12'),
        (dict(in_channels=4), r'\(8, 4, 4, 4\) in the network'),
        (dict(depths=[1] * 5, num_heads=[1] * 5), 'has 4 stages; 5 cannot be kept'),
    ],
)
def test_wrong_arch_is_one_error(options, message, network, tmp_path):
    path = save(in_format(network, 'microsoft'), tmp_path / 'swin.pth', 'model')
    in_channels = options.pop('in_channels', 3)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    ours = TruncatedSwin({**ARCH, **options}, in_channels=in_channels, init_cfg=init_cfg)
    with pytest.raises(ValueError, match=message) as error:
        ours.init_weights()
    assert path in str(error.value)
    assert len(str(error.value)) < 1000


def test_nothing_is_loaded_when_it_does_not_fit(network, tmp_path):
    path = save(in_format(network, 'timm'), tmp_path / 'swin.pth')
    ours = TruncatedSwin({**ARCH, 'depths': [1, 2, 3, 1]}, init_cfg=dict(type='Pretrained', checkpoint=path))
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    with pytest.raises(ValueError, match='does not fit'):
        ours.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())


def test_microsoft_or_timm(network):
    """They differ by where the steps between stages stand; a file with both is neither."""
    both = {**in_format(network, 'timm'), **in_format(network, 'microsoft')}
    with pytest.raises(ValueError, match=r'may be a Swin of microsoft, .* or of timm'):
        detect_format(SWIN, both)


def test_other_numbering_of_relative_positions_is_refused(network):
    state = in_format(network, 'microsoft')
    state['layers.0.blocks.0.attn.relative_position_index'] = torch.zeros(49, 49, dtype=torch.long)
    with pytest.raises(ValueError, match='numbers the relative positions differently'):
        _load(network, state)


def test_missing_file_is_named(tmp_path):
    ours = TruncatedSwin(ARCH, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'absent.pth')))
    with pytest.raises(FileNotFoundError, match='absent.pth'):
        ours.init_weights()


@pytest.mark.parametrize('content', [{}, dict(epoch=3), dict(model=dict(a=1)), [1, 2]])
def test_file_without_weights(content):
    with pytest.raises(ValueError, match='here.pth holds no weights'):
        unwrap(content, 'here.pth')


def test_other_network_is_refused():
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).state_dict()
    with pytest.raises(ValueError, match=r"holds no Swin .* begins with \['0.weight', '0.bias'\]"):
        convert(SWIN, state)
