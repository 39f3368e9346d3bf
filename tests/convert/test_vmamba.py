"""VMamba weights of the official code: names, shapes, numbers, and what is refused."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmpose.registry import MODELS

from mmhier.convert import VMAMBA, convert, find_family, fit
from mmhier.models.backbones.truncated_vmamba import TruncatedVMamba
from mmhier.testing.released_weights import vmamba_of_authors

ARCH = dict(embed_dims=8, depths=[1, 2, 2, 1], ssm_ratio=2)
FORMATS = ('official', 'earlier', 'detector')
LINEAR = ('in_proj.weight', 'out_proj.weight', 'fc1.weight', 'fc2.weight')
NORMS = [(stage, part) for stage in range(4) for part in ('weight', 'bias')]


def build(**options):
    options = dict(arch=ARCH, drop_path_rate=0.0, scan_backend='torch', **options)
    return MODELS.build(dict(type='TruncatedVMamba', **options)).eval()


@pytest.fixture
def network():
    """All stages and their norms, with weights of which none is trivial."""
    torch.manual_seed(0)
    network = build(out_indices=(0, 1, 2, 3), out_norm=True)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def in_format(network, name):
    """The state dictionary that the official code would have, by renaming ours."""
    official = vmamba_of_authors(network.state_dict())
    if name == 'official':
        return official
    if name == 'detector':
        norms = {f'outnorm{n}.{part}': network.state_dict()[f'norm{n}.{part}'] for n, part in NORMS}
        encoder = {key: value for key, value in official.items() if not key.startswith('classifier')}
        return {f'backbone.{key}': value for key, value in (encoder | norms).items()} | {
            'bbox_head.weight': torch.zeros(3)
        }
    state = {}
    for key, value in official.items():
        if key.endswith(LINEAR):  # was a 1 x 1 convolution
            value = value[:, :, None, None]
        key = key.removeprefix('classifier.').replace('.op.', '.self_attention.')
        key = key.replace('patch_embed.0', 'patch_embed.proj').replace('patch_embed.2', 'patch_embed.norm')
        if '.norm.' in key and 'blocks' in key:
            key = key.replace('.norm.', '.ln_1.')
        state[key] = value
    return state


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
    path = str(tmp_path / 'vmamba.pth')
    torch.save({'state_dict' if name == 'detector' else 'model': in_format(network, name)}, path)
    closed = name == 'detector'
    kept = build(num_stages=stages, out_norm=closed, init_cfg=dict(type='Pretrained', checkpoint=path))
    kept.init_weights()
    source = network.state_dict()
    assert all(torch.equal(value, source[key]) for key, value in kept.state_dict().items())
    images = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        found, expected = kept(images)[0], network(images)[stages - 1]
        if not closed:
            norm = getattr(network, f'norm{stages - 1}')
            found = norm(found.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        assert torch.allclose(found, expected, atol=1e-5)
    (message,) = [text for text in messages if text.startswith(f'{path}: loaded')]
    assert 'vmamba keys' in message
    assert ('stage 4 is not kept' in message) == (stages < 4)


@pytest.mark.parametrize('name', FORMATS)
def test_every_key_is_accounted_for(name, network):
    state = in_format(network, name)
    before = {key: value.clone() for key, value in state.items()}
    converted = convert(VMAMBA, state, num_stages=2)
    assert converted.format == 'vmamba'
    assert len(converted.state_dict) + len(converted.dropped) == len(state)
    assert all(reason for reason in converted.dropped.values())
    assert all(torch.equal(value, before[key]) for key, value in state.items())


def test_released_norms_start_as_they_are_built(network):
    """A released network has a norm in its classifier only, which belongs to that."""
    kept = build(out_norm=True)
    weights, report = fit(VMAMBA, in_format(network, 'official'), kept.state_dict(), 4, (3,))
    assert report.missing == ['norm3.weight', 'norm3.bias']
    assert [key for key, reason in report.dropped.items() if reason == 'classifier'] == [
        f'classifier.{part}.{entry}' for part in ('norm', 'head') for entry in ('weight', 'bias')
    ]
    assert not set(weights) & set(report.missing)


def test_own_model_loads_with_its_closing_norm(network, tmp_path):
    state = {f'backbone.{key}': value for key, value in network.state_dict().items()}
    torch.save({'state_dict': state | {'head.weight': torch.zeros(2)}}, tmp_path / 'own.pth')
    options = dict(out_indices=(0, 2), out_norm=True)
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'own.pth'))
    again = build(**options, init_cfg=init_cfg)
    again.init_weights()
    source = network.state_dict()
    assert all(torch.equal(value, source[key]) for key, value in again.state_dict().items())
    with pytest.raises(ValueError, match='norm2.weight has no place in the network.*out_norm'):
        build(num_stages=3, init_cfg=init_cfg).init_weights()


@pytest.mark.parametrize('name', (*FORMATS, 'own'))
def test_family_is_found(name, network):
    state = network.state_dict() if name == 'own' else in_format(network, name)
    assert find_family(state) is VMAMBA


@pytest.mark.parametrize('name', FORMATS)
def test_unknown_key_is_named(name, network):
    state = in_format(network, name)
    prefix = 'backbone.' if name == 'detector' else ''
    state[f'{prefix}layers.0.blocks.0.op.gate'] = torch.zeros(1)
    with pytest.raises(ValueError, match='here.pth has keys that no VMamba of vmamba has: .*op.gate'):
        convert(VMAMBA, state, source='here.pth')


@pytest.mark.parametrize(
    'part', ['A_logs', 'Ds', 'dt_projs_bias', 'downsample.1.weight', 'patch_embed.5.bias']
)
def test_missing_key_is_named(part, network):
    state = in_format(network, 'official')
    del state[next(key for key in state if key.endswith(part))]
    with pytest.raises(ValueError, match='here.pth .* is incomplete: it lacks (stages|patch_embed)'):
        convert(VMAMBA, state, source='here.pth')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(embed_dims=16), r'patch_embed.conv1.weight is \(4, 3, 3, 3\) in the file and \(8'),
        (dict(depths=[1, 2, 1, 1]), 'stages.2.blocks.1.* has no place in the network'),
        (dict(depths=[1, 2, 3, 1]), 'stages.2.blocks.2.* is missing'),
        (dict(ssm_ratio=1), 'inner width 16 and depths .* the network has width 8, inner width 8'),
        (dict(d_state=2), r'A_logs is|x_proj_weight is'),
    ],
)
def test_wrong_arch_is_one_error(change, message, network, tmp_path):
    path = str(tmp_path / 'vmamba.pth')
    torch.save({'model': in_format(network, 'official')}, path)
    ours = TruncatedVMamba({**ARCH, **change}, init_cfg=dict(type='Pretrained', checkpoint=path))
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    with pytest.raises(ValueError, match=message) as error:
        ours.init_weights()
    assert path in str(error.value) and 'set arch' in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())


def test_averaged_weights_of_a_snapshot(network, tmp_path):
    state = {key: value for key, value in network.state_dict().items() if not key.startswith('norm')}
    averaged = {key: value + 1 for key, value in state.items()}
    path = tmp_path / 'snapshot.pth'
    torch.save(dict(model=state, model_ema=averaged, epoch=3), path)
    options = dict(type='Pretrained', checkpoint=str(path))
    for wrapper, expected in ((None, state), ('model', state), ('model_ema', averaged)):
        init_cfg = options | (dict(wrapper=wrapper) if wrapper else {})
        ours = build(init_cfg=init_cfg)
        ours.init_weights()
        found = ours.state_dict()
        assert found and all(torch.equal(found[key], expected[key]) for key in found)
    ours = build(init_cfg=options | dict(wrapper='ema'))
    with pytest.raises(ValueError, match=r"snapshot.pth has nothing under 'ema': it has \['epoch', 'model'"):
        ours.init_weights()
