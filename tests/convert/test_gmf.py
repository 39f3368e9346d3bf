"""GroupMixFormer weights of its authors: names, numbers, and what is refused."""

import pytest
import torch

from mmhier.convert import find_family
from mmhier.convert.gmf import GMF
from mmhier.convert.key_table import convert, fit
from mmhier.models.backbones.truncated_gmf import TruncatedGMF
from mmhier.testing.released_weights import gmf_of_authors

ARCH = dict(embed_dims=(20, 20, 40, 40), depths=(1, 2, 1, 1), mlp_ratios=(2, 4, 2, 2))


@pytest.fixture
def network():
    network = TruncatedGMF(ARCH, drop_path_rate=0.0).eval()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.0)
    return network


def theirs(network):
    return gmf_of_authors(network.state_dict())


def test_some_names_of_the_authors(network):
    """Copied from their code, so that the renaming above is not merely the inverse of the table."""
    assert set(theirs(network)) >= {
        'conv_stem.proj1.weight',
        'conv_stem.norm2.running_var',
        'patch_embed_layers.0.proj.conv1.weight',
        'patch_embed_layers.3.proj.pointwise_conv.weight',
        'patch_embed_layers.1.norm.num_batches_tracked',
        'groupmixformer_backbone.1.gma_stage.1.cpe.proj.bias',
        'groupmixformer_backbone.0.gma_stage.0.norm1.weight',
        'groupmixformer_backbone.0.gma_stage.0.mlp.fc2.weight',
        'groupmixformer_backbone.0.gma_stage.0.att.qkv.bias',
        'groupmixformer_backbone.0.gma_stage.0.att.proj.weight',
        'groupmixformer_backbone.0.gma_stage.0.att.aggregator.norm0.weight',
        'groupmixformer_backbone.0.gma_stage.0.att.aggregator.agg3.conv1.weight',
        'groupmixformer_backbone.0.gma_stage.0.att.aggregator.agg0.conv.pointwise_conv.weight',
        'groupmixformer_backbone.0.gma_stage.0.att.aggregator.agg0.norm.bias',
        'groupmixformer_backbone.0.gma_stage.0.att.crpe.conv_list.2.weight',
    }


@pytest.mark.parametrize('wrapping', ['released', 'snapshot', 'bare', 'model around it'])
@pytest.mark.parametrize('stages', [1, 3, 4])
def test_loads_files_of_the_authors(network, tmp_path, wrapping, stages):
    state = theirs(network)
    if wrapping == 'model around it':
        state = {**{f'module.backbone.{key}': value for key, value in state.items()}, 'x': torch.ones(1)}
    file = {
        'released': dict(model=state),
        'snapshot': dict(
            model=state, optimizer=dict(state={}), lr_scheduler={}, max_accuracy=1.0, epoch=3, config='TRAIN'
        ),
    }.get(wrapping, state)
    torch.save(file, tmp_path / 'gmf.pth')
    settings = dict(type='Pretrained', checkpoint=str(tmp_path / 'gmf.pth'))
    kept = TruncatedGMF(ARCH, num_stages=stages, init_cfg=settings)
    kept.init_weights()
    expected = network.state_dict()
    assert len(kept.state_dict()) > 50
    assert all(torch.equal(value, expected[key]) for key, value in kept.state_dict().items())


def test_every_key_is_accounted_for(network):
    state = theirs(network)
    found = convert(GMF, state, num_stages=2)
    assert found.format == 'authors'
    assert len(found.state_dict) + len(found.dropped) == len(state)
    assert set(found.dropped.values()) == {
        'classifier',
        'stage 3 is not kept',
        'stage 4 is not kept',
        'leads to stage 3, which is not kept',
    }
    assert convert(GMF, network.state_dict()).format == 'mmhier'
    assert convert(GMF, network.state_dict()).state_dict.keys() == network.state_dict().keys()


def test_family_is_found(network):
    assert find_family(theirs(network)) is GMF
    assert find_family(network.state_dict()) is GMF


def test_another_architecture_is_named(network):
    """As it may happen with the large network, whose file and configuration may differ."""
    other = TruncatedGMF({**ARCH, 'mlp_ratios': (2, 2, 2, 2)})
    with pytest.raises(ValueError, match=r'mlp_ratios \[2, 4, 2, 2\], the network has .*mlp_ratios \[2, 2'):
        fit(
            GMF,
            dict(model=theirs(network)),
            other.state_dict(),
            4,
            (3,),
            source='large.pth',
        )
    deeper = TruncatedGMF({**ARCH, 'depths': (1, 3, 1, 1)})
    with pytest.raises(ValueError, match=r'large.pth .*depths \[1, 2, 1, 1\]'):
        fit(
            GMF,
            dict(model=theirs(network)),
            deeper.state_dict(),
            4,
            (3,),
            source='large.pth',
        )


def test_unknown_and_missing_keys_are_refused(network):
    with pytest.raises(ValueError, match='surprise'):
        convert(GMF, {**theirs(network), 'surprise.weight': torch.ones(1)})
    state = theirs(network)
    del state['groupmixformer_backbone.0.gma_stage.0.att.aggregator.norm2.running_var']
    with pytest.raises(ValueError, match=r'lacks stages.0.blocks.0.attn.groups.2.norm.running_var'):
        convert(GMF, state)
    with pytest.raises(ValueError, match='has 4 stages; 5 cannot be kept'):
        convert(GMF, theirs(network), num_stages=5)


def test_files_without_counts_of_batches_load(network):
    state = {k: v for k, v in theirs(network).items() if not k.endswith('num_batches_tracked')}
    weights, report = fit(GMF, dict(model=state), network.state_dict(), 4, (3,))
    assert report.missing and all(key.endswith('num_batches_tracked') for key in report.missing)
    assert not any(key.endswith('num_batches_tracked') for key in weights)


def test_fused_state_is_no_source_of_weights(network):
    with pytest.raises(ValueError, match='folded_kernels'):
        convert(GMF, network.fuse_for_inference().state_dict())
