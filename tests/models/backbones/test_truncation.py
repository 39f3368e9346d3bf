"""Truncation: what is kept, the drop-path ramp, and layers for layer-wise decay."""

import pytest

from mmhier.models.backbones.truncation import LayerKeys, Truncation

DEPTHS = (2, 2, 6, 2)
SWIN_KEYS = LayerKeys(
    r'patch_embed\.', r'stages\.(\d+)\.blocks\.(\d+)\.', r'stages\.(\d+)\.downsample\.', r'norm\d+\.'
)


def test_defaults():
    assert Truncation.of(DEPTHS) == Truncation(DEPTHS, 4, (3,))
    assert Truncation.of(DEPTHS, 3) == Truncation(DEPTHS, 3, (2,))
    assert Truncation.of(DEPTHS, out_indices=(0, 1)) == Truncation(DEPTHS, 2, (0, 1))
    assert Truncation.of(DEPTHS, 3).depths == (2, 2, 6)
    assert Truncation.of(DEPTHS, 3).num_layers == 10


def test_block_index_counts_over_stages():
    kept = Truncation.of(DEPTHS, 3)
    found = [
        kept.block_index(stage, block) for stage, depth in enumerate(kept.depths) for block in range(depth)
    ]
    assert found == list(range(10))


def test_ramp_over_the_full_depth_is_that_of_the_full_network():
    full = Truncation.of(DEPTHS).drop_path_rates(0.3)
    assert [len(rates) for rates in full] == list(DEPTHS)
    assert full[0][0] == 0.0
    assert full[3][1] == pytest.approx(0.3)
    assert Truncation.of(DEPTHS, 3).drop_path_rates(0.3) == full[:3]
    assert Truncation.of(DEPTHS, 3).drop_path_rates(0.3)[2][5] == pytest.approx(0.3 * 9 / 11)


def test_ramp_over_the_kept_depth_ends_at_the_maximum():
    rates = Truncation.of(DEPTHS, 2).drop_path_rates(0.3, span='kept')
    assert [rate for stage in rates for rate in stage] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert Truncation.of((1,)).drop_path_rates(0.3) == [[0.0]]


def test_layer_ids_by_hand():
    kept = Truncation.of(DEPTHS, 3)
    expected = {
        'patch_embed.projection.weight': 0,
        'patch_embed.norm.bias': 0,
        'stages.0.blocks.0.norm1.weight': 1,
        'stages.0.blocks.1.attn.w_msa.relative_position_bias_table': 2,
        'stages.0.downsample.reduction.weight': 3,
        'stages.1.blocks.0.norm1.weight': 3,
        'stages.1.downsample.norm.weight': 5,
        'stages.2.blocks.0.norm1.weight': 5,
        'stages.2.blocks.5.ffn.layers.1.bias': 10,
        'norm2.weight': 11,
        'norm0.weight': 11,
    }
    for name, layer in expected.items():
        assert kept.layer_id(name, SWIN_KEYS) == layer, name


def test_layer_of_a_step_stored_with_the_later_stage():
    keys = SWIN_KEYS._replace(downsample_leads_to=0)
    assert Truncation.of(DEPTHS).layer_id('stages.1.downsample.norm.weight', keys) == 3


def test_unknown_parameter_is_named():
    with pytest.raises(ValueError, match='head.fc.weight'):
        Truncation.of(DEPTHS).layer_id('head.fc.weight', SWIN_KEYS)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((()), 'depths must be positive'),
        (((2, 0),), 'depths must be positive'),
        ((DEPTHS, 5), 'num_stages must be 1 to 4'),
        ((DEPTHS, 0), 'num_stages must be 1 to 4'),
        ((DEPTHS, True), 'num_stages must be 1 to 4'),
        ((DEPTHS, 2.0), 'num_stages must be 1 to 4'),
        ((DEPTHS, 3, (3,)), 'must be num_stages - 1'),
        ((DEPTHS, 3, (0,)), 'Set num_stages=1'),
        ((DEPTHS, 3, ()), 'out_indices must be stages'),
        ((DEPTHS, None, (-1,)), 'out_indices must be stages'),
        ((DEPTHS, None, (1, 0)), 'ascending'),
        ((DEPTHS, None, (1, 1)), 'ascending'),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Truncation.of(*(arguments or ((),)))


@pytest.mark.parametrize(
    ('rate', 'span', 'message'), [(1.0, 'full', '1.0'), (-0.1, 'full', '-0.1'), (0.1, 'x', "'x'")]
)
def test_bad_rates_are_named(rate, span, message):
    with pytest.raises(ValueError, match=message):
        Truncation.of(DEPTHS).drop_path_rates(rate, span)
