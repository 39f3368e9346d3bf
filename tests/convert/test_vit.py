"""Plain ViT weights of six projects: names, positions, numbers, and what is refused."""

import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.convert import convert_whole_model, find_family
from mmhier.convert.key_table import convert
from mmhier.convert.vit import (
    DATASETS,
    VIT,
    convert_vitpose_model,
    fit_vit,
    grid_hw,
    pick_dataset,
    resize_positions,
)
from mmhier.models.backbones.vit import ViT
from mmhier.testing.released_weights import vit_of_mae

ARCH = dict(embed_dims=12, num_layers=2, num_heads=3)
MAP_HW = (16, 12)
TIMM_NAMES = [
    ('ffn.layers.0.0.', 'mlp.fc1.'),
    ('ffn.layers.1.', 'mlp.fc2.'),
    ('layers.', 'blocks.'),
    ('.ln', '.norm'),
    ('projection.', 'proj.'),
]
HF_NAMES = [
    ('pos_embed', 'embeddings.position_embeddings'),
    ('patch_embed.', 'embeddings.patch_embeddings.'),
    ('ffn.layers.0.0.', 'mlp.fc1.'),
    ('ffn.layers.1.', 'mlp.fc2.'),
    ('layers.', 'encoder.layer.'),
    ('attn.proj.', 'attention.output.dense.'),
    ('.ln1.', '.layernorm_before.'),
    ('.ln2.', '.layernorm_after.'),
]
FORMATS = ('openmmlab', 'openmmlab193', 'vitpose', 'hmr2', 'smplerx', 'huggingface')


@pytest.fixture
def network():
    """With weights of which none is trivial."""
    network = ViT(ARCH, drop_path_rate=0.0).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def renamed(network, names, closing):
    """State dictionary under other names; ``closing`` is the name of the closing norm."""
    state = {}
    for key, value in network.state_dict().items():
        key = key if key.startswith('layers.') else key.replace('ln1.', f'{closing}.')
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        state[key] = value.clone()
    return state


def with_added_row(table):
    """A row that is added to all others, in front of what is then left of them."""
    row = torch.randn(1, 1, table.shape[2])
    return torch.cat([row, table - row], dim=1)


def in_format(network, name):
    """The state dictionary that another project would have, by renaming ours."""
    extra = torch.randn(1, 1, ARCH['embed_dims'])
    if name.startswith('openmmlab'):
        state = network.state_dict()
        if name.endswith('193'):
            state['pos_embed'] = torch.cat([extra, state['pos_embed']], dim=1)
        return {f'backbone.{key}': value for key, value in state.items()} | {'head.final_layer.bias': extra}
    if name == 'huggingface':
        state = renamed(network, HF_NAMES, 'layernorm')
        for key in [key for key in state if '.attn.qkv.' in key]:
            for part, value in zip(('query', 'key', 'value'), state.pop(key).chunk(3), strict=True):
                state[key.replace('attn.qkv.', f'attention.attention.{part}.')] = value
        table, prefix, rest = 'embeddings.position_embeddings', 'backbone.', {'head.conv.bias': extra}
    else:
        state, table = renamed(network, TIMM_NAMES, 'last_norm'), 'pos_embed'
        prefix = dict(vitpose='backbone.', hmr2='backbone.', smplerx='encoder.')[name]
        rest = {
            'vitpose': {'keypoint_head.final_layer.bias': extra},
            'hmr2': {'smpl_head.decpose.bias': extra, 'smpl.betas': extra},
            'smplerx': {'body_position_net.conv.bias': extra, 'encoder.task_tokens': extra},
        }[name]
    state[table] = with_added_row(state[table])
    return {f'{prefix}{key}': value for key, value in state.items()} | rest


def mae(network, side=14, with_decoder=False):
    state = vit_of_mae(network.state_dict(), side)
    if with_decoder:
        state |= {key.replace('blocks', 'decoder_blocks'): v for key, v in state.items() if 'blocks' in key}
        for key in ('mask_token', 'decoder_pos_embed', 'decoder_embed.weight', 'decoder_pred.bias'):
            state[key] = torch.zeros(1)
    return state


def loaded(checkpoint, **options):
    """A network of the small architecture with the weights of a checkpoint, and the report."""
    network = ViT(ARCH, drop_path_rate=0.0, **options).eval()
    weights, report = fit_vit(checkpoint, network.state_dict(), network.map_hw)
    network.load_state_dict({**network.state_dict(), **weights})
    return network, report


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_gives_the_same_output(network, name):
    other, report = loaded(dict(state_dict=in_format(network, name)))
    images = torch.randn(2, 3, 256, 192)
    with torch.no_grad():
        expected, found = network(images)[0], other(images)[0]
    assert (expected - found).abs().max() < 1e-5
    kinds = dict(openmmlab193='openmmlab', hmr2='vitpose', smplerx='vitpose')
    assert report.format == kinds.get(name, name)
    assert not report.missing
    reasons = set(report.dropped.values())
    assert 'not part of the backbone' in reasons
    assert any('task' in key for key in report.dropped) == (name == 'smplerx')


@pytest.mark.parametrize('name', FORMATS)
def test_formats_are_found_among_all_families(network, name):
    state = in_format(network, name)
    assert find_family(state) is VIT
    found = convert(VIT, state).state_dict
    assert found.keys() == network.state_dict().keys()
    assert torch.allclose(found['pos_embed'], network.pos_embed, atol=1e-6)


@pytest.mark.parametrize('with_decoder', [False, True])
def test_mae(network, with_decoder):
    """The row of the class token goes, 14 x 14 becomes 16 x 12, the closing norm keeps its initial value."""
    state = mae(network, with_decoder=with_decoder)
    other, report = loaded(dict(model=state))
    assert report.format == 'mae'
    assert report.missing == ['ln1.weight', 'ln1.bias']
    grid = state['pos_embed'][:, 1:].view(1, 14, 14, -1).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=MAP_HW, mode='bicubic', align_corners=False)
    found = other.pos_embed.detach().view(1, *MAP_HW, -1).permute(0, 3, 1, 2)
    assert torch.equal(found, expected)
    assert torch.equal(other.layers[1].attn.qkv.weight, network.layers[1].attn.qkv.weight)
    assert ('decoder of the pre-training' in report.dropped.values()) == with_decoder


def test_other_map_sizes(network):
    """A table for 16 x 12 serves a network for 24 x 18."""
    other, _ = loaded(in_format(network, 'vitpose'), img_size=(384, 288))
    assert other.pos_embed.shape[1] == 24 * 18
    assert torch.allclose(other.pos_embed, resize_positions(network.pos_embed, MAP_HW, (24, 18)), atol=1e-5)


def test_rows_of_a_table_tell_the_map():
    assert grid_hw(192) == (16, 12)
    assert grid_hw(196) == (14, 14)
    assert grid_hw(24 * 18) == (24, 18)
    assert grid_hw(193) is None


def test_first_blocks_only(network):
    other, report = loaded(in_format(network, 'vitpose'), num_stages=1)
    images = torch.randn(1, 3, 256, 192)
    full = ViT(ARCH, out_indices=(0, 1)).eval()
    full.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert (other(images)[0] - full(images)[0]).abs().max() < 1e-5
    assert 'only 1 blocks are kept' in report.dropped.values()


def test_init_cfg(network, tmp_path):
    path = str(tmp_path / 'vitpose.pth')
    torch.save(dict(state_dict=in_format(network, 'vitpose')), path)
    other = MODELS.build(dict(type='ViT', arch=ARCH, init_cfg=dict(type='Pretrained', checkpoint=path)))
    other.init_weights()
    assert torch.allclose(other.pos_embed, network.pos_embed, atol=1e-6)
    assert torch.equal(other.layers[0].attn.qkv.weight, network.layers[0].attn.qkv.weight)


# --- ViTPose+ ----------------------------------------------------------------------------------------------


def plus(network, part=4):
    """ViTPose+ whose experts and decoders are all different; expert 0 is the network's."""
    state = in_format(network, 'vitpose')
    for key in [key for key in state if '.mlp.fc2.' in key]:
        rows = state[key]
        state[key] = rows[:-part]
        for expert in range(6):
            state[key.replace('.fc2.', f'.experts.{expert}.')] = rows[-part:] + expert
    for head in range(6):
        name = 'keypoint_head' if not head else f'associate_keypoint_heads.{head - 1}'
        state[f'{name}.final_layer.bias'] = torch.full((133,), float(head))
    return state


@pytest.mark.parametrize('dataset', sorted(DATASETS))
def test_vitpose_plus_is_an_ordinary_vit_per_data_set(network, dataset):
    expert, joints = DATASETS[dataset]
    found = convert_vitpose_model(plus(network), dataset).state_dict
    for key in ('layers.1.ffn.layers.1.weight', 'layers.1.ffn.layers.1.bias'):
        expected = network.state_dict()[key].clone()
        expected[-4:] += expert
        assert torch.equal(found[f'backbone.{key}'], expected)
    assert torch.equal(found['head.final_layer.bias'], torch.full((joints,), float(expert)))
    assert not any('expert' in key or 'associate' in key for key in found)


def test_vitpose_plus_that_was_split_by_its_own_tool(network):
    """Last layers are complete, but the experts are still there."""
    state = plus(network) | {k: v for k, v in in_format(network, 'vitpose').items() if '.mlp.fc2.' in k}
    found = pick_dataset(state)
    assert torch.equal(
        found['backbone.blocks.0.mlp.fc2.weight'], network.state_dict()['layers.0.ffn.layers.1.weight']
    )


def test_vitpose_plus_that_was_split_for_another_data_set(network):
    state = plus(network)
    for key in [key for key in state if '.mlp.fc2.' in key]:
        state[key] = torch.cat([state[key], state[key.replace('.fc2.', '.experts.2.')]])
    assert pick_dataset(state, 'mpii')['backbone.blocks.0.mlp.fc2.weight'].shape == (12, 48)
    with pytest.raises(ValueError, match='split for mpii: it cannot be made one for coco'):
        pick_dataset(state, 'coco')


def test_vitpose_plus_without_the_decoder_of_a_data_set(network, tmp_path):
    """As transformers' files, which hold all experts and COCO's decoder."""
    state = in_format(network, 'huggingface')
    for key in [key for key in state if '.mlp.fc2.' in key]:
        rows = state[key]
        state[key] = rows[:-4]
        for expert in range(6):
            state[key.replace('.fc2.', f'.experts.{expert}.')] = rows[-4:] + expert
    state |= {'head.conv.weight': torch.zeros(17, 256, 1, 1), 'head.conv.bias': torch.zeros(17)}
    assert convert_vitpose_model(state, 'coco').state_dict['head.final_layer.bias'].shape == (17,)
    for dataset, (_, joints) in DATASETS.items():
        if dataset != 'coco':
            with pytest.raises(ValueError, match=f'no decoder for {dataset}, which has {joints} joints'):
                convert_vitpose_model(state, dataset)
    weights, _ = fit_vit(state, network.state_dict(), MAP_HW, dataset='wholebody')  # the encoder alone
    assert torch.equal(
        weights['layers.0.ffn.layers.1.bias'][-4:], network.layers[0].ffn['layers'][1].bias[-4:] + 5
    )


# --- ViTPose+ as a whole -----------------------------------------------------------------------------------


def huggingface_plus(network):
    """As transformers' files: all experts, and COCO's decoder."""
    state = in_format(network, 'huggingface')
    for key in [key for key in state if '.mlp.fc2.' in key]:
        rows = state[key]
        state[key] = rows[:-4]
        for expert in range(6):
            state[key.replace('.fc2.', f'.experts.{expert}.')] = rows[-4:] + expert
    return state | {'head.conv.weight': torch.zeros(17, 256, 1, 1), 'head.conv.bias': torch.zeros(17)}


def with_experts(names=tuple(DATASETS)):
    return ViT(ARCH, drop_path_rate=0.0, experts=names, expert_dims=4).eval()


def heatmap_model(settings, weights):
    """With every weight of the file and no other."""
    init_default_scope('mmpose')
    model = MODELS.build(settings).eval()
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize('dataset', ['coco', 'wholebody'])
def test_merged_experts_give_the_heatmaps_of_the_whole_to_the_bit(network, dataset):
    """One file, converted once as a whole and once for a data set."""
    state = plus(network)
    for head in range(6):
        name = 'keypoint_head' if not head else f'associate_keypoint_heads.{head - 1}'
        state[f'{name}.final_layer.weight'] = torch.randn(133, 12, 1, 1) * 0.3
    common = dict(type='HeatmapHead', in_channels=12, deconv_out_channels=None)
    heads = {name: dict(out_channels=joints) for name, (_, joints) in DATASETS.items()}
    backbone = dict(type='ViT', arch=ARCH)
    whole = heatmap_model(
        dict(
            type='ManyDatasetsEstimator',
            backbone=dict(backbone, experts=tuple(DATASETS), expert_dims=4),
            head=dict(type='DataSetHeads', heads=heads, common=common),
        ),
        convert_vitpose_model(state, 'all').state_dict,
    )
    single = heatmap_model(
        dict(
            type='TopdownPoseEstimator',
            backbone=backbone,
            head=dict(common, out_channels=DATASETS[dataset][1]),
        ),
        convert_vitpose_model(state, dataset).state_dict,
    )
    images = torch.randn(2, 3, 256, 192)
    with torch.no_grad():
        found = whole.head.heads[dataset](whole.backbone(images, [dataset] * 2))
        assert found.abs().max() > 0.1
        assert torch.equal(found, single.head(single.backbone(images)))


@pytest.mark.parametrize('make', [plus, huggingface_plus])
def test_all_experts_load(network, make):
    """Each in its place, by its name; the decoders are those that the file has."""
    state = make(network)
    weights, report = fit_vit(state, with_experts().state_dict(), MAP_HW)
    assert not report.missing
    for name, (number, _) in DATASETS.items():
        rows = network.state_dict()['layers.1.ffn.layers.1.weight'][-4:] + number
        assert torch.equal(weights[f'layers.1.ffn.experts.{name}.weight'], rows)
    found = convert_vitpose_model(state, 'all').state_dict
    of = {key.split('.')[2] for key in found if key.startswith('head.')}
    assert of == ({'coco'} if make is huggingface_plus else set(DATASETS))
    few, report = fit_vit(state, with_experts(('mpii', 'coco')).state_dict(), MAP_HW)
    assert {key.split('.')[4] for key in few if '.experts.' in key} == {'mpii', 'coco'}
    assert 'expert of a data set that the network is not for' in report.dropped.values()


def test_weights_without_experts_start_all_of_them(network):
    """Each has the last rows, so that the network is what it was for every data set."""
    for state in (mae(network), in_format(network, 'vitpose')):
        weights, report = fit_vit(state, with_experts().state_dict(), MAP_HW)
        rows = network.layers[0].ffn['layers'][1].weight
        assert torch.equal(weights['layers.0.ffn.layers.1.weight'], rows[:-4])
        for name in DATASETS:
            assert torch.equal(weights[f'layers.0.ffn.experts.{name}.weight'], rows[-4:])
        assert set(report.missing) <= {'ln1.weight', 'ln1.bias'}


def test_experts_that_do_not_fit_are_named(network):
    state = plus(network)
    with pytest.raises(ValueError, match=r'no expert for lsp, only for coco, aic'):
        fit_vit(state, with_experts(('coco', 'lsp')).state_dict(), MAP_HW)
    with pytest.raises(ValueError, match=r'experts for coco, aic.*, the network none: set experts='):
        fit_vit(state, network.state_dict(), MAP_HW, dataset='all')
    with pytest.raises(ValueError, match=r"no ViTPose\+.*leave out dataset='all'"):
        convert_vitpose_model(in_format(network, 'vitpose'), 'all')
    for key in [key for key in state if '.mlp.fc2.' in key]:
        state[key] = torch.cat([state[key], state[key.replace('.fc2.', '.experts.2.')]])
    with pytest.raises(ValueError, match='was split for one data set'):
        convert_vitpose_model(state, 'all')


def test_an_ordinary_vitpose_has_no_data_set_to_pick(network):
    with pytest.raises(ValueError, match=r"no ViTPose\+.*leave out dataset='coco'"):
        pick_dataset(in_format(network, 'vitpose'), 'coco')


def test_a_class_token_does_not_make_it_mae(network):
    """Some files of ViTPose still hold it; the closing norm says which positions these are."""
    token = torch.randn(1, 1, ARCH['embed_dims'])
    state = in_format(network, 'vitpose')
    ours, report = loaded(state | {'backbone.cls_token': token})
    assert report.format == 'vitpose'
    assert all(
        torch.equal(ours.state_dict()[key], value) for key, value in loaded(state)[0].state_dict().items()
    )
    found = convert_vitpose_model(state | {'backbone.cls_token': token})
    assert found.format == 'vitpose' and 'backbone.cls_token' in found.dropped
    norms = [key for key in state if 'last_norm' in key]
    neither = {key: value for key, value in state.items() if key not in norms} | {'backbone.cls_token': token}
    with pytest.raises(ValueError, match=r'ViTPose.*or MAE.*neither'):
        loaded(neither)
    both = state | {'backbone.cls_token': token, 'backbone.norm.weight': state[norms[0]]}
    with pytest.raises(ValueError, match=r'ViTPose.*or MAE.*both'):
        loaded(both)


@pytest.mark.parametrize('token', [False, True])
def test_the_closing_norm_is_needed_with_or_without_a_class_token(network, token):
    """ViTPose always has one; without it nothing tells which positions these are."""
    state = {key: value for key, value in in_format(network, 'vitpose').items() if 'last_norm' not in key}
    state |= {'backbone.cls_token': torch.zeros(1, 1, ARCH['embed_dims'])} if token else {}
    with pytest.raises(ValueError, match=r'may be ViTPose.* or MAE.*neither'):
        loaded(state)
    found = mae(network)
    del found['cls_token']
    assert loaded(found)[1].format == 'mae'


def test_two_families_or_formats_or_tasks_are_refused_with_both_named(network):
    state = in_format(network, 'vitpose')
    swin = {'encoder.layers.0.blocks.0.attn.relative_position_bias_table': torch.zeros(1)}
    with pytest.raises(ValueError, match=r'a\.pth may be Swin or ViT, .*prefix='):
        find_family(state | swin, 'a.pth')
    assert find_family(state | swin, 'a.pth', 'backbone.') is VIT
    with pytest.raises(ValueError, match='may be a ViT of vitpose or openmmlab'):
        loaded(state | {'backbone.patch_embed.projection.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match=r'a\.pth may be ViTPose or HMR2\.0'):
        convert_whole_model(state | {'smpl_head.decpose.weight': torch.zeros(1)}, source='a.pth')


def test_vitpose_plus_needs_a_data_set(network, tmp_path):
    with pytest.raises(ValueError, match=r'ViTPose\+.*choose one of'):
        loaded(plus(network))
    with pytest.raises(ValueError, match="one of .*'coco'.* got 'lsp'"):
        pick_dataset(plus(network), 'lsp')
    path = str(tmp_path / 'plus.pth')
    torch.save(plus(network), path)
    init = dict(type='Pretrained', checkpoint=path, dataset='coco')
    other = MODELS.build(dict(type='ViT', arch=ARCH, init_cfg=init))
    other.init_weights()
    assert torch.equal(
        other.state_dict()['layers.0.ffn.layers.1.bias'], network.layers[0].ffn['layers'][1].bias
    )


# --- whole models ------------------------------------------------------------------------------------------


@pytest.fixture(params=['classic', 'simple'])
def pose_model(request, repo_root):
    """A small model of the COCO configs; every weight matters."""
    init_default_scope('mmpose')
    name = dict(classic='vitpose_b_coco', simple='vitpose_b_simple_coco')[request.param]
    cfg = Config.fromfile(repo_root / 'configs' / 'hpe' / f'{name}.py')
    cfg.model.backbone.update(arch=ARCH, init_cfg=None)
    cfg.model.head.in_channels = ARCH['embed_dims']
    model = MODELS.build(cfg.model).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize('name', ['vitpose', 'huggingface', 'openmmlab'])
def test_whole_models(pose_model, name):
    state = {k: v for k, v in in_format(pose_model.backbone, name).items() if k.startswith('backbone.')}
    hugging_face = [('0.', 'deconv1.'), ('1.', 'batchnorm1.'), ('3.', 'deconv2.'), ('4.', 'batchnorm2.')]
    for key, value in pose_model.head.state_dict().items():
        if name == 'huggingface':
            key = key.replace('final_layer.', 'conv.')
            for ours, theirs in hugging_face:
                key = re.sub('^deconv_layers.' + re.escape(ours), theirs, key)
        state[('keypoint_head.' if name == 'vitpose' else 'head.') + key] = value
    found = convert_vitpose_model(state)
    assert found.format == name
    expected = pose_model.state_dict()
    assert found.state_dict.keys() == expected.keys()
    assert all(torch.allclose(found.state_dict[key], expected[key], atol=1e-6) for key in expected)


def test_whole_model_with_an_unknown_key(pose_model):
    state = in_format(pose_model.backbone, 'vitpose') | {'keypoint_head.extra.weight': torch.zeros(1)}
    with pytest.raises(ValueError, match=r'no pose model of vitpose has: keypoint_head\.extra'):
        convert_vitpose_model(state)
    with pytest.raises(ValueError, match='is no pose model'):
        convert_vitpose_model({f'backbone.{key}': value for key, value in mae(pose_model.backbone).items()})


# --- bad input ---------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_named(network):
    state = in_format(network, 'vitpose')
    with pytest.raises(ValueError, match='width 12, 2 blocks and 192 positions, the network has width 16'):
        fit_vit(state, ViT({**ARCH, 'embed_dims': 16, 'num_heads': 4}).state_dict(), MAP_HW)
    with pytest.raises(ValueError, match=r'layers\.2\.ln1\.weight is missing'):
        fit_vit(state, ViT({**ARCH, 'num_layers': 3}).state_dict(), MAP_HW)
    with pytest.raises(ValueError, match=r'no ViT of vitpose has: backbone\.blocks\.0\.gamma'):
        loaded(state | {'backbone.blocks.0.gamma': torch.zeros(1)})
    del state['backbone.blocks.1.mlp.fc1.bias']
    with pytest.raises(ValueError, match=r'lacks layers\.1\.ffn\.layers\.0\.0\.bias'):
        loaded(state)


def test_a_table_without_the_additional_row_is_not_folded(network):
    state = in_format(network, 'vitpose') | {'backbone.pos_embed': torch.zeros(1, 192, 12)}
    with pytest.raises(ValueError, match='192 rows'):
        loaded(state)


def test_equals_transformers(network):
    transformers = pytest.importorskip('transformers')
    config = transformers.VitPoseBackboneConfig(
        hidden_size=ARCH['embed_dims'],
        num_hidden_layers=ARCH['num_layers'],
        num_attention_heads=ARCH['num_heads'],
        out_features=[f'stage{ARCH["num_layers"]}'],
    )
    theirs = transformers.VitPoseBackbone(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours, report = loaded(theirs.state_dict())
    assert report.format == 'huggingface'
    images = torch.randn(2, 3, 256, 192)
    with torch.no_grad():
        expected = theirs(images).feature_maps[-1]  # (B, N, C)
        found = ours(images)[0].flatten(2).transpose(1, 2)
    assert (found - expected).abs().max() < 1e-5
