"""Every architecture of timm is cut with right shapes, strides and depths, or refused with the reason."""

import csv
import importlib.util
import re
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from mmhier.models.backbones.network_survey import ONE_STRIDE
from mmhier.models.backbones.truncated_backbone import TruncatedBackbone
from mmhier.models.backbones.truncation import FeatureInfo

if importlib.util.find_spec('timm') is None:
    pytest.skip('timm is not installed', allow_module_level=True)

from mmhier.testing.timm_hierarchies import architectures, examine, module_of

TABLE = Path(__file__).parents[2] / 'docs/benchmarks/timm_hierarchies.csv'
# Of one stride throughout, or slow to build (NASNet, PNASNet: 10 s): with the rest under `slow`.
NOT_BY_DEFAULT = {'nasnet', 'pnasnet', 'sequencer'}


def by_module() -> dict[str, list[str]]:
    names = defaultdict(list)
    for name in architectures():
        names[module_of(name)].append(name)
    return names


def table() -> dict[str, dict[str, str]]:
    with TABLE.open(newline='') as file:
        return {row['name']: row for row in csv.DictReader(file)}


def depth(row: dict[str, str]) -> int:
    return sum(map(int, row['layers'].split('-'))) if row['layers'] else 1000


def representatives() -> list[str]:
    """The shallowest network of each module that has hierarchies."""
    known = table()
    chosen = {}
    for module, names in by_module().items():
        hierarchies = [name for name in names if name in known]
        if hierarchies and module not in NOT_BY_DEFAULT:
            chosen[module] = min(hierarchies, key=lambda name: (depth(known[name]), len(name), name))
    return sorted(chosen.values())


@pytest.mark.parametrize('name', representatives())
def test_one_of_each_module(name):
    found, row = examine(name), table()[name]
    assert (found.layers, found.strides, found.channels) == (row['layers'], row['strides'], row['channels'])
    assert bool(found.reason) == bool(row['reason'])


@pytest.mark.slow
@pytest.mark.parametrize('module', sorted(by_module()))
def test_all(module):
    """As in the table; networks that are not there have maps of one stride."""
    known = table()
    for name in by_module()[module]:
        found = examine(name)
        if name in known:
            assert found.layers == known[name]['layers'], name
        else:
            assert ONE_STRIDE in found.reason, name


def test_the_table_is_of_sane_rows():
    rows = table()
    cut = [row for row in rows.values() if not row['reason']]
    assert len(cut) > 0.9 * len(rows) > 500
    for row in cut:
        assert 1 <= sum(map(int, row['layers'].split('-'))) <= 44, row['name']
    assert not [row for row in rows.values() if row['reason'].startswith('ERROR')]


# --- what used to be wrong ---------------------------------------------------------------------------------


def build(name, **options):
    config = dict(type='timm', name=name, **options.pop('config', {}))
    with torch.device('meta'):
        return TruncatedBackbone(config, **options)


@pytest.mark.parametrize(
    ('name', 'layers'),
    [
        ('regnety_008', (1, 3, 8, 2)),  # blocks, in modules that are no lists
        ('densenet121', (3, 6, 12, 9)),  # 58 dense layers, two of a stage to a layer
        ('starnet_s1', (3, 3, 9, 4)),  # blocks and a convolution in one list: 2, 2, 8, 3 and the convolution
    ],
)
def test_depth_is_that_of_the_structure(name, layers):
    network = build(name, num_stages=3)
    assert network.truncation.full_depths == layers
    found = {network.layer_id(key) for key, _ in network.named_parameters()}
    assert found - {network.num_layers + 1} == set(range(network.num_layers + 1))


def test_the_order_of_dimensions_is_asked_for():
    """A map of 96 x 96 places and 96 channels looks the same either way."""
    network = build(
        'swin_tiny_patch4_window7_224', config=dict(img_size=384), num_stages=1, img_size=(384, 384)
    )
    assert network.channels_last
    assert not build('resnet10t', num_stages=1).channels_last
    with torch.device('meta'):
        (out,) = build(
            'swin_tiny_patch4_window7_224', config=dict(img_size=384), out_indices=(1,), img_size=(384, 384)
        )(torch.rand(2, 3, 384, 384))
    assert out.shape == (2, 192, 48, 48)


@pytest.mark.parametrize('num_stages', [1, 2, 3, 4])
def test_parallel_resolutions_are_refused_however_many_are_kept(num_stages):
    with pytest.raises(ValueError, match=r'hrnet_w18_small is not hierarchical: its map 1 needs stage2.0'):
        build('hrnet_w18_small', num_stages=num_stages)


def test_maps_that_are_not_returned_by_default_do_not_shift_the_others():
    """DLA's first map is listed but not returned: the second in line is the third of its list."""
    torch.manual_seed(0)
    config, hw = dict(type='timm', name='dla46x_c'), (64, 64)
    whole = TruncatedBackbone(config, out_indices=(0, 1, 2, 3), img_size=hw).eval()
    kept = TruncatedBackbone(config, num_stages=2, img_size=hw).eval()
    assert kept.feature_info == [FeatureInfo(64, 8)]
    weights = whole.state_dict()
    kept.load_state_dict({key: weights[key] for key in kept.state_dict()})
    images = torch.rand(1, 3, *hw)
    with torch.no_grad():
        (out,), maps = kept(images), whole(images)
    assert out.shape == (1, 64, 8, 8)
    assert torch.equal(out, maps[1])


def test_a_last_pooling_is_no_stage():
    assert build('vgg11').feature_info == [FeatureInfo(512, 16)]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('inception_v3', r'makes maps of .* which is not one place per 4 pixels'),
        ('crossvit_tiny_240', r'map 0 already needs 9\d% of its parameters'),
        ('pit_ti_224', r'not one place per 8 pixels'),
    ],
)
def test_what_is_refused_says_why(name, message):
    assert re.search(message, examine(name).reason)
