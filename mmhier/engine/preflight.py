"""Look at a config before anything is built, so that a wrong path or size is one clear error.

Without this a missing annotation file shows up as an assertion deep inside a data set, and a heatmap
size that does not fit the input size as a shape mismatch inside the loss of the first iteration.
"""

import copy
import os.path as osp
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.fileio import exists
from mmpose.registry import MODELS
from torch import nn

from mmhier.engine.config_keys import find
from mmhier.engine.data_preflight import check_data, data_sets
from mmhier.engine.initial_weights import check_initial_weights, check_teacher, fetch_checkpoint
from mmhier.engine.many_preflight import Part, heads_of, parts_of
from mmhier.engine.name_preflight import check_names
from mmhier.engine.schedule_preflight import check_schedule
from mmhier.engine.sharding import check_sharding
from mmhier.models.backbones.truncation import TruncatedEncoder
from mmhier.student import without_teacher
from mmhier.suggestions import similar_path
from mmhier.zoo.choice import released

_STRIDE = 16  # every encoder hands the decoder a map at 1/16 of the input
# Options of codecs on which the targets do not depend.
_DECODING = {'blur_kernel_size', 'unbiased', 'decode_visibility', '_scope_'}
_PATH_REMEDY = 'Set it with --cfg-options {field}=PATH, or see docs/training.md'


def check_run(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check names, settings of the run, and then paths and sizes; arguments and errors of the three."""
    check_names(cfg, loaders)
    check_schedule(cfg, loaders)
    check_config(cfg, loaders)


def check_config(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check paths and sizes of a config.

    Args:
        cfg: The whole config.
        loaders: The data loaders about to be used, e.g. ``('train_dataloader', 'val_dataloader')``.

    Raises:
        DownloadError: If a checkpoint cannot be downloaded.
        FileNotFoundError: If a checkpoint, an annotation file, a box file, an image folder, the file of the
            encoder's initial weights, the teacher's weights, a picture or a body model is missing.
        ValueError: If nothing would be trained, an annotation file holds something wrong or does not fit (see
            :mod:`mmhier.engine.data_preflight`), input size and heatmap size of the codec do not fit each
            other, neck or head do not fit the encoder, the optimizers do not fit the model, something is
            not for a sharded training, or there is no GPU for mixed precision.
    """
    if 'train_dataloader' in loaders:
        _check_precision(cfg.get('optim_wrapper') or {})
        check_sharding(cfg)
    if cfg.get('load_from'):
        _check_start(cfg)
    for field, codec in _codecs(cfg.get('model', {})):
        _check_codec(field, codec)
    model = without_teacher(cfg.get('model') or {})
    for head in heads_of(model).values():
        check_channels(_without_weights(model.get('backbone') or {}), {**model, 'head': head})
    _check_pipelines(cfg, loaders)
    for loader in loaders:
        if cfg.get(loader):
            for field, dataset in data_sets(cfg[loader].get('dataset'), f'{loader}.dataset'):
                _check_paths(field, dataset)
            check_data(cfg, loader)
    if cfg.get('load_from'):
        fetch_checkpoint(cfg.load_from, 'load_from')
    if 'train_dataloader' in loaders:
        check_initial_weights(model)
        check_teacher(cfg.get('model') or {})
    if model.get('type') == 'TopdownMeshEstimator':
        _check_body_model(model)
        if 'train_dataloader' in loaders and model.get('mocap'):
            _check_prior(model, cfg.get('optim_wrapper') or {})


def check_channels(backbone: nn.Module | None, described: Mapping[str, Any]) -> None:
    """Check that neck and head are made for what a backbone says of itself (``feature_info``).

    Args:
        backbone: It may be without weights, on the device ``meta``.
        described: The model's config.

    Raises:
        ValueError: If they are not.
    """
    maps = getattr(backbone, 'feature_info', None)
    if not maps:
        return
    neck, head = described.get('neck') or {}, described.get('head') or {}
    part, reads = ('neck', neck) if neck else ('head', head)
    given = f'model.backbone ({type(backbone).__name__}) gives'
    for key, value in dict(in_channels=maps[-1].channels, in_stride=maps[-1].stride).items():
        if isinstance(reads.get(key), int) and reads[key] != value:
            what = f'{value} channels' if key == 'in_channels' else f'a map at 1/{value} of the image'
            raise ValueError(
                f'model.{part}.{key} is {reads[key]}, but {given} {what}: set model.{part}.{key}={value}'
            )
    channels, expected = neck.get('out_channels'), head.get('in_channels')
    if neck.get('type') == 'ResolutionNeck' and isinstance(expected, int) and channels != expected:
        raise ValueError(
            f'model.head.in_channels is {expected}, but model.neck gives {channels} channels: set '
            f'model.head.in_channels={channels}'
        )


def _without_weights(backbone: Mapping[str, Any]) -> nn.Module | None:
    """A truncated encoder without memory for its weights; None of others, and of what cannot be built."""
    kind = find(backbone['type']) if isinstance(backbone.get('type'), str) else None
    if not isinstance(kind, type) or not issubclass(kind, TruncatedEncoder):
        return None
    try:
        with torch.device('meta'):
            return MODELS.build({**copy.deepcopy(backbone), 'init_cfg': None})
    except Exception:
        return None  # the run says why when it builds it


def _check_start(cfg: Config) -> None:
    """Check that what a run starts from is there, or has a name; nothing is fetched."""
    if released(cfg.load_from) and cfg.get('resume') not in (None, False, 'auto'):
        raise ValueError(
            f'{cfg.load_from} cannot be resumed from: released weights do not say where their training was. '
            f'--cfg-options load_from={cfg.load_from} starts from them'
        )


def _check_precision(optim_wrapper: ConfigDict) -> None:
    wrappers = [optim_wrapper, *(value for value in optim_wrapper.values() if isinstance(value, dict))]
    if any(wrapper.get('type') == 'AmpOptimWrapper' for wrapper in wrappers) and get_device() == 'cpu':
        raise ValueError(
            'automatic mixed precision (--amp, or optim_wrapper.type=AmpOptimWrapper) needs a GPU, and '
            'PyTorch finds none here: leave it out'
        )


def _check_paths(field: str, dataset: ConfigDict) -> None:
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or {}
    prefix = dict(img_path=prefix) if isinstance(prefix, str) else prefix  # as mmpretrain's data sets read it
    paths = {
        'ann_file': _join(root, dataset.get('ann_file')),
        'bbox_file': dataset.get('bbox_file'),
        'data_prefix.img': _join(root, prefix.get('img')),
        'data_prefix.img_path': _join(root, prefix.get('img_path')),
        'img_dir': _join(root, dataset.get('img_dir')),
    }
    for name, path in paths.items():
        if path and '://' not in path and not exists(path):
            remedy = _PATH_REMEDY.format(field=f'{field}.{name}')
            raise FileNotFoundError(
                f'{path} does not exist ({field}.{name}, data_root={root!r}){similar_path(path)}. {remedy}'
            )


def _check_body_model(model: ConfigDict) -> None:
    """Load the body model, which says what to do if it is not installed or lacks a regressor."""
    from mmhier.body_models.model_directory import load_body_model

    load_body_model(model.get('body_model', 'open'), model.get('joints', 'hmr44'))


def _check_prior(model: ConfigDict, optim_wrapper: ConfigDict) -> None:
    if optim_wrapper.get('constructor') != 'AdversarialConstructor':
        raise ValueError(
            'a model with discriminator and mocap needs two optimizers: optim_wrapper.constructor='
            f"'AdversarialConstructor', not {optim_wrapper.get('constructor')!r}; see "
            'configs/_base_/schedules/hmr2_500k.py'
        )
    path = model.mocap.get('ann_file')
    if path and not exists(path):
        raise FileNotFoundError(
            f'{path} does not exist (model.mocap.ann_file){similar_path(path)}. --cfg-options '
            'model.mocap.ann_file=PATH names another'
        )


def _check_pipelines(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check that targets are made, and crops are cut, as the head's decoder reads them.

    Raises:
        ValueError: If they are not.
    """
    for loader in loaders:
        for part in parts_of(cfg, loader) if cfg.get(loader) else ():
            decoder = part.head.get('decoder')
            if isinstance(decoder, dict) and 'input_size' in decoder:
                _check_pipeline(part, decoder)


def _check_pipeline(part: Part, decoder: ConfigDict) -> None:
    named = f'{part.head_field}.decoder'
    for field, dataset in data_sets(part.dataset, part.field):
        for number, transform in enumerate(dataset.get('pipeline') or ()):
            where = f'{field}.pipeline.{number}'
            if transform['type'] == 'GenerateTarget':
                _check_encoder(decoder, transform.get('encoder'), where, named)
            elif transform['type'] == 'TopdownAffine':
                size_wh, decoder_wh = tuple(transform['input_size']), tuple(decoder['input_size'])
                if size_wh != decoder_wh:
                    raise ValueError(
                        f'{where}.input_size is {size_wh}, that of {named} {decoder_wh}; make both from one '
                        'codec'
                    )


def _check_encoder(decoder: ConfigDict, encoder: ConfigDict | list | None, where: str, named: str) -> None:
    encoders = [one for one in (encoder if isinstance(encoder, list | tuple) else [encoder]) if one]
    alike = [one for one in encoders if one['type'] == decoder['type']]
    if encoders and not alike:
        raise ValueError(
            f'{where}.encoder is a {encoders[0]["type"]}, {named} a {decoder["type"]}; make both '
            'from one codec'
        )
    different = [
        {key for key in {**one, **decoder} if one.get(key) != decoder.get(key)} - _DECODING for one in alike
    ]
    if different and all(different):
        key = min(different[0])
        raise ValueError(
            f'{where}.encoder has {key}={alike[0].get(key)!r}, {named} '
            f'{key}={decoder.get(key)!r}: what is learned is not what is read; make both from one codec'
        )


def _join(root: str, path: str | None) -> str | None:
    return osp.join(root, path) if path else path


def _codecs(model: ConfigDict) -> Iterator[tuple[str, ConfigDict]]:
    neck = model.get('neck') or {}
    for head in heads_of(model).values():
        decoder = head.get('decoder')
        if isinstance(decoder, dict) and 'heatmap_size' in decoder and neck.get('type') == 'ResolutionNeck':
            yield 'codec', ConfigDict(decoder, upsampling=2 ** len(head.get('deconv_out_channels') or ()))


def _check_codec(field: str, codec: ConfigDict) -> None:
    input_wh, heatmap_wh = tuple(codec['input_size']), tuple(codec['heatmap_size'])
    sigma = codec.get('sigma', 1)
    if not all(value > 0 for value in (sigma if isinstance(sigma, list | tuple) else [sigma])):
        raise ValueError(f'{field}.sigma is {sigma!r}, expected a number of heatmap pixels above 0')
    expected = tuple(-(-side // _STRIDE) * codec['upsampling'] for side in input_wh)
    if any(side % _STRIDE for side in input_wh):
        raise ValueError(
            f'{field}.input_size {input_wh} (w, h) is not a multiple of {_STRIDE}: heatmap and image would '
            'not cover the same area. Choose sides that are, such as (192, 256)'
        )
    if heatmap_wh != expected:
        raise ValueError(
            f'{field}.heatmap_size {heatmap_wh} does not fit input_size {input_wh} (both w, h): the decoder '
            f'gives {expected}'
        )
