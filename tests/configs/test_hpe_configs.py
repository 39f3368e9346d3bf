"""The COCO configs: parameter counts, shapes, initial weights, and no key that nobody reads."""

import inspect

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpose.apis import init_model  # noqa: F401  (MMPose imports under mmhier.compat)
from mmpose.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

from mmhier.zoo.names import find_configs


def _head(width: int) -> int:
    """Two 4x4 deconvolutions to 256 without bias, each with batch norm, and a 1x1 convolution to 17."""
    return width * 256 * 16 + 2 * 256 + 256 * 256 * 16 + 2 * 256 + 256 * 17 + 17


# Those with ViTPose's decoder of two deconvolutions.
CLASSIC = [
    path.stem
    for path in find_configs(['*_coco'])
    if Config.fromfile(path).model.head.get('deconv_out_channels', 'by default')
]


@pytest.fixture(scope='module', autouse=True)
def _scope():
    init_default_scope('mmpose')


def _load(repo_root, name):
    return Config.fromfile(repo_root / 'configs' / 'hpe' / f'{name}.py')


@pytest.mark.parametrize('name', CLASSIC)
def test_parameter_count_is_exact(repo_root, name):
    """Of neck and decoder, for the width and stride that the encoder says it returns."""
    cfg = _load(repo_root, name)
    if cfg.model.backbone.type == 'TruncatedBackbone':
        pytest.importorskip('timm')
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    found = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    ((channels, stride),) = model.backbone.feature_info
    width = cfg.model.head.in_channels
    # A 2x2 convolution or deconvolution with a bias leads to stride 16; nothing does from there.
    assert found.get('neck', 0) == (0 if stride == 16 else channels * width * 4 + width)
    assert found['head'] == _head(width)
    if width == 384:
        assert found['head'] == 2_626_833, "ViTPose-S's decoder"


@pytest.mark.parametrize('stages', [2, 3, 4])
def test_forward_reaches_heatmap_size(repo_root, stages):
    cfg = _load(repo_root, f'swinpose_t_s{stages}_coco')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 256, 192), None, mode='tensor').shape == (1, 17, 64, 48)


def _all_configs(repo_root):
    paths = sorted((repo_root / 'configs' / 'hpe').glob('*.py'))
    assert len(paths) >= 12
    return paths


def _accepts(registry, cfg):
    """Raise if a keyword of ``cfg`` is read by no constructor on the class's way up."""
    cls = registry.get(cfg['type'])
    names = set()
    for base in cls.__mro__:
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            names |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
            if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
    unread = set(cfg) - names - {'type'}
    assert not unread, f'{cfg["type"]} does not read {sorted(unread)}'


def test_no_config_holds_a_key_that_nobody_reads(repo_root):
    ours = 'custom_imports codec data_root val_ann_file train_pipeline val_pipeline auto_scale_lr max_epochs'
    of_inferencers = {'dataset_type', 'data_mode'}
    top_level = set(inspect.signature(Runner.__init__).parameters) | set(ours.split()) | of_inferencers
    top_level |= {'model_wrapper_cfg'}  # which the runner reads itself
    for path in _all_configs(repo_root):
        cfg = Config.fromfile(path)
        assert set(cfg) <= top_level, f'{path.name}: {sorted(set(cfg) - top_level)}'
        for part in ('backbone', 'neck', 'head', 'data_preprocessor'):
            _accepts(MODELS, cfg.model[part])
        for split in ('train', 'val', 'test'):
            dataset = cfg[f'{split}_dataloader'].dataset
            _accepts(DATASETS, dataset)
            for transform in dataset.pipeline:
                _accepts(TRANSFORMS, transform)
            Compose(dataset.pipeline)
        for split in ('val', 'test'):
            _accepts(METRICS, cfg[f'{split}_evaluator'])
        for hook in [*cfg.default_hooks.values(), *cfg.custom_hooks]:
            _accepts(HOOKS, hook)


def test_initial_weights_are_named(repo_root):
    """Every model for COCO starts from ImageNet weights: a URL, or a file and where to get it."""
    paths = sorted((repo_root / 'configs' / 'hpe').glob('*_coco.py'))
    assert len(paths) >= 35
    for path in paths:
        cfg = Config.fromfile(path)
        init_cfg = cfg.model.backbone.init_cfg
        checkpoint = init_cfg['checkpoint']
        if not checkpoint.startswith('https://'):
            texts = [path.read_text(), (path.parent / f'{path.stem[:-7]}s3_coco.py').read_text()]
            assert any('# Initial weights' in text and 'https://' in text for text in texts), path


def test_every_leaf_opens_with_its_score(repo_root):
    for path in _all_configs(repo_root):
        head = path.read_text().splitlines()[:3]
        assert any('run by us' in line or 'AP' in line for line in head), path
