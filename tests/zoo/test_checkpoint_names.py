"""Encoders of every released format, from their name in ``init_cfg`` to the maps of the official graph."""

import io
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmpose.registry import MODELS

from mmhier.models.backbones.truncated_gmf import TruncatedGMF
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.truncated_vmamba import TruncatedVMamba
from mmhier.models.backbones.vit import ViT
from mmhier.network import DownloadError
from mmhier.testing.file_server import Served
from mmhier.testing.released_weights import (
    State,
    gmf_of_authors,
    swin_of_microsoft,
    vit_of_mae,
    vmamba_of_authors,
)
from mmhier.zoo.registry import find_entry

REFERENCE = Path(__file__).parents[1] / 'reference'
OPTIMIZER = dict(param_groups=[dict(lr=1e-4, params=[0])], state={0: dict(step=3, exp_avg=torch.zeros(2))})
STAGES = 3  # that are kept of four
ARCHS = dict(
    TruncatedSwin=dict(embed_dims=8, depths=[1, 2, 2, 1], num_heads=[1, 2, 2, 4], window_size=7),
    TruncatedGMF=dict(embed_dims=(20, 20, 40, 40), depths=(1, 2, 1, 1), mlp_ratios=(2, 4, 2, 2)),
    TruncatedVMamba=dict(embed_dims=8, depths=[1, 2, 2, 1], ssm_ratio=2),
    ViT=dict(embed_dims=12, num_layers=2, num_heads=3),
)
OWN = dict(TruncatedVMamba=dict(scan_backend='torch'), ViT=dict(img_size=(64, 48)))
CLASSES = (TruncatedSwin, TruncatedGMF, TruncatedVMamba, ViT)


def openmmlab_mae(state: State) -> State:
    """MMPose's copies of MAE have its names, and the row of the class token."""
    row = torch.zeros(1, 1, state['pos_embed'].shape[-1])
    return state | {'pos_embed': torch.cat([row, state['pos_embed']], 1), 'cls_token': row}


def mae(state: State) -> State:
    """Positions of the same map, so that nothing is interpolated."""
    row = torch.zeros(1, 1, state['pos_embed'].shape[-1])
    return vit_of_mae(state) | {'pos_embed': torch.cat([row, state['pos_embed']], 1)}


def smplerx(state: State) -> State:
    theirs = {key.replace('norm.', 'last_norm.', 1) if key.startswith('norm.') else key: value
              for key, value in mae(state).items() if key != 'cls_token'}  # fmt: skip
    theirs['task_tokens'] = torch.ones(1, 3, state['pos_embed'].shape[-1])
    return {f'module.encoder.{key}': value for key, value in theirs.items()} | {
        'module.body_position_net.conv.bias': torch.ones(2)
    }


# Release in the registry -> encoder, what its file holds, and what of the encoder is not in it.
RELEASES = {
    'swin-tiny-in1k': ('TruncatedSwin', lambda s: dict(model=swin_of_microsoft(s)), ('norm2',)),
    'swin-tiny-in1k-openmmlab': (
        'TruncatedSwin',
        lambda s: dict(state_dict={f'backbone.{k}': v for k, v in s.items()}, meta=dict(epoch=300)),
        ('norm2',),
    ),
    'vmamba-tiny-in1k': ('TruncatedVMamba', lambda s: dict(model=vmamba_of_authors(s), epoch=264), ()),
    'groupmixformer-tiny-in1k': ('TruncatedGMF', lambda s: dict(model=gmf_of_authors(s)), ()),
    'mae-small': ('ViT', lambda s: dict(state_dict=openmmlab_mae(s)), ()),
    'mae-base-original': ('ViT', lambda s: dict(model=mae(s)), ('ln1',)),
    'smplerx-small': ('ViT', lambda s: dict(epoch=4, network=smplerx(s), optimizer=OPTIMIZER), ()),
}


def expected_maps(kind: str, state: State, images: torch.Tensor) -> torch.Tensor:
    """The last map by the reference implementation of a state that is complete under our names."""
    arch = ARCHS[kind]
    name = dict(TruncatedSwin='swin', TruncatedGMF='gmf', TruncatedVMamba='vmamba', ViT='vit')[kind]
    run = runpy.run_path(str(REFERENCE / f'{name}.py'))[name]
    if kind == 'ViT':
        theirs = vit_of_mae(state)
        theirs |= {f'last_norm.{part}': theirs.pop(f'norm.{part}') for part in ('weight', 'bias')}
        row = torch.zeros(1, 1, arch['embed_dims'])
        return run(theirs | {'pos_embed': torch.cat([row, state['pos_embed']], 1)}, images, arch['num_heads'])
    settings = (arch['depths'],)
    if kind == 'TruncatedSwin':
        settings += arch['num_heads'], arch['window_size']
    return run({key: value.double() for key, value in state.items()}, images.double(), *settings, STAGES)[-1]


@pytest.mark.parametrize('release', RELEASES)
def test_encoder_from_name_to_maps(release, server, make_entry, home):
    kind, pack, left_out = RELEASES[release]
    whole = next(c for c in CLASSES if c.__name__ == kind)(arch=ARCHS[kind], **OWN.get(kind, {}))
    for name, value in whole.state_dict().items():
        if value.is_floating_point():
            # of a normalisation around 1
            value.normal_(1.0 if value.dim() == 1 and 'bias' not in name else 0.0, 0.1).abs_()
    entry, file = find_entry(release), io.BytesIO()
    torch.save(pack(whole.state_dict()), file)
    content = file.getvalue()
    settings = dict(kind='init', file=entry.file, format=entry.format, non_commercial='no')
    if entry.sources:
        server.files['/a'] = Served(content)
        make_entry('my-init', content=content, sources=[server.url('/a')], **settings)
    else:  # only a browser gets it
        make_entry('my-init', content=content, **settings)
        with pytest.raises(DownloadError, match=f'put the file .* as {home}/models/my-init/{entry.file}'):
            CheckpointLoader.load_checkpoint('my-init')
        (home / 'models/my-init').mkdir(parents=True)
        (home / 'models/my-init' / entry.file).write_bytes(content)
    options = OWN.get(kind, {}) | (dict() if kind == 'ViT' else dict(num_stages=STAGES))
    init_cfg = dict(type='Pretrained', checkpoint='my-init')
    network = MODELS.build(dict(type=f'mmpose.{kind}', arch=ARCHS[kind], init_cfg=init_cfg, **options))
    fresh = MODELS.build(dict(type=f'mmpose.{kind}', arch=ARCHS[kind], **options)).state_dict()
    network.init_weights()
    truth = {key: whole.state_dict().get(key, value) for key, value in fresh.items()}
    truth |= {key: value for key, value in fresh.items() if left_out and key.startswith(left_out)}
    images = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        found = network.eval()(images)[-1]
        expected = expected_maps(kind, truth, images)
    assert found.shape == expected.shape and expected.abs().max() > 0.1
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert len(server.log) == bool(entry.sources)
