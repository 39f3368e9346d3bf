"""Try one sample and one step of the model before a run begins; nothing is changed by it.

What a config describes may be built and still not fit together: a step of the pipeline needs what no step
before it gives, a head was made for other channels than the encoder has. That would come to light as an
error of torch somewhere in the first iteration, or after the first epoch.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpose.models.pose_estimators import TopdownPoseEstimator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmhier.engine.preflight import check_channels
from mmhier.user_errors import USER_ERRORS

_TRIES = 20  # samples, of which the first may be damaged and left out by the pipeline
_SHOW = 'MMHIER_TRACEBACK=1 shows where'
_LEARNING = 'Does its pipeline make targets (GenerateTarget), and do these, model.head and its loss fit?'
_PREDICTING = 'Do its pipeline (GetBBoxCenterScale, TopdownAffine, PackPoseInputs) and model.test_cfg fit?'


def check_one_step(runner: Runner, cfg: Config) -> None:
    """Try a sample of the training data, and the model on it; then one of those for validation.

    Args:
        runner: Before training.
        cfg: The config that it is made from.

    Raises:
        ValueError: If something does not fit, with the part of the config.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    check_decay(model, cfg)
    check_channels(getattr(model, 'backbone', None), cfg.model)
    with _as_before(model):
        loader = runner.train_dataloader
        sample = _first_sample(loader.dataset, 'train_dataloader.dataset')
        if sample is None or not isinstance(model, TopdownPoseEstimator):
            return
        with _in_a_sentence('learn from the first sample of train_dataloader', _LEARNING), torch.no_grad():
            data = model.data_preprocessor(loader.collate_fn([sample]), training=True)
            _check_parts(model, data['inputs'], cfg.model)
            model(**data, mode='loss')
        evaluation = getattr(runner, 'val_loop', None)
        if evaluation is None:
            return
        _predict(model, evaluation.dataloader, 'val_dataloader')


def check_one_prediction(runner: Runner) -> None:
    """Try the model on a sample of the test data, before its weights are loaded; errors as above."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if runner.test_loop is not None:
        with _as_before(model):
            _predict(model, runner.test_loop.dataloader, 'test_dataloader')


def _predict(model: nn.Module, loader: DataLoader, name: str) -> None:
    sample = _first_sample(loader.dataset, f'{name}.dataset')
    if sample is None or not isinstance(model, TopdownPoseEstimator):
        return
    with _in_a_sentence(f'predict the first sample of {name}', _PREDICTING), torch.no_grad():
        data = model.data_preprocessor(loader.collate_fn([sample]), training=False)
        model(**data, mode='predict')


@contextmanager
def _in_a_sentence(what: str, hint: str) -> Iterator[None]:
    """Turn an error of Python's or torch's into one of the user's."""
    try:
        yield
    except (*USER_ERRORS, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(f'the model cannot {what}: {_of(error)}. {hint} {_SHOW}') from error


def check_decay(model: nn.Module, cfg: Config) -> None:
    """Check that layer-wise decay knows the layers of the backbone.

    Raises:
        ValueError: If it does not; MMPose's own would then let all learn alike without a word.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    kind, backbone = wrapper.get('constructor'), getattr(model, 'backbone', None)
    name = type(backbone).__name__
    if kind == 'LayerIdDecayConstructor' and not (
        hasattr(backbone, 'layer_id') and hasattr(backbone, 'num_layers')
    ):
        raise ValueError(
            f'optim_wrapper.constructor={kind!r} needs a backbone with layer_id() and num_layers; {name} '
            "(model.backbone) has none. Use one of mmhier's encoders, wrap it in a TruncatedBackbone, or set "
            'constructor=None and paramwise_cfg=None of optim_wrapper'
        )
    layered = backbone is None or any(key.startswith('layers.') for key, _ in backbone.named_parameters())
    if kind == 'LayerDecayOptimWrapperConstructor' and not layered:
        raise ValueError(
            f'optim_wrapper.constructor={kind!r} knows layers called backbone.layers.N only, and {name} '
            '(model.backbone) has none: every layer would learn at the same rate. Set constructor='
            "'LayerIdDecayConstructor', which takes layer_decay_rate alone"
        )


def _check_parts(model: nn.Module, images: Tensor, described: Mapping[str, Any]) -> None:
    """Run the parts one by one, so that the one that does not fit is named."""
    size = f'{images.shape[3]} x {images.shape[2]} pixels (w, h)'
    wanted = getattr(getattr(model.head, 'decoder', None), 'input_size', None) if model.with_head else None
    if wanted is not None and (images.shape[3], images.shape[2]) != _whole(wanted):
        raise ValueError(
            f'the pipeline of train_dataloader gives images of {size}, but model.head.decoder.input_size is '
            f'{_whole(wanted)}: a TopdownAffine of that input_size cuts them out'
        )
    maps = _run(lambda: model.backbone(images), 'model.backbone', f'images of {size}', described['backbone'])
    if model.with_neck:
        given = maps
        maps = _run(lambda: model.neck(given), 'model.neck', given, described.get('neck') or {})
    if not model.with_head:
        return
    found = _run(lambda: model.head(maps), 'model.head', maps, described.get('head') or {})
    size_wh = getattr(getattr(model.head, 'decoder', None), 'heatmap_size', None)
    if size_wh is not None and isinstance(found, Tensor) and found.ndim == 4:
        made = found.shape[3], found.shape[2]
        if made != _whole(size_wh):
            raise ValueError(
                f'model.head gives heatmaps of {made[0]} x {made[1]} (w, h) for images of {size}, but '
                f'model.head.decoder.heatmap_size is {_whole(size_wh)}: correct heatmap_size, the number of '
                'deconv_out_channels (each doubles the size), or the stride of backbone and neck'
            )


def _run(step: Callable[[], Any], part: str, given: Any, described: Mapping[str, Any]) -> Any:
    """Run a part; ``given`` are maps, or what it takes in words."""
    try:
        return step()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        made_for, last = described.get('in_channels'), given[-1] if isinstance(given, Sequence) else given
        if isinstance(made_for, int) and _is_map(last) and made_for != last.shape[1]:
            raise ValueError(
                f'{part}.in_channels is {made_for}, but the part before gives {last.shape[1]} channels: set '
                f'{part}.in_channels={last.shape[1]}'
            ) from error
        words = given if isinstance(given, str) else _shapes(given)
        raise ValueError(
            f'{part} ({described.get("type", "see the config")}) cannot take {words}: {_of(error)}. {_SHOW}'
        ) from error


def _shapes(maps: Any) -> str:
    maps = maps if isinstance(maps, Sequence) else [maps]
    shapes = [f'{one.shape[1]} channels of {one.shape[3]} x {one.shape[2]}' for one in maps if _is_map(one)]
    return f'maps of {", ".join(shapes)}' if shapes else 'what is before it'


def _whole(size: Sequence) -> tuple[int, ...]:
    """A size as whole numbers; codecs keep arrays."""
    return tuple(int(side) for side in size)


def _is_map(one: Any) -> bool:
    return isinstance(one, Tensor) and one.ndim == 4


def _first_sample(dataset: Dataset, where: str) -> Any:
    """A sample as the loader would get it; None of streams and of data sets without a pipeline."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, '__len__'):
        return None
    for index in range(min(_TRIES, len(dataset))):
        steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
        if steps is None or not hasattr(dataset, 'get_data_info'):
            try:
                sample = dataset[index]
            except USER_ERRORS:
                raise
            except Exception as error:
                raise ValueError(f'{where} gives no sample {index}: {_of(error)}. {_SHOW}') from error
        else:
            layout = dict(layout=dataset.layout) if hasattr(dataset, 'layout') else {}
            sample = _pass(dataset.get_data_info(index) | layout, steps, where)
        if sample is not None:
            break
    else:
        return None
    if isinstance(dataset, Dataset) and not {'inputs', 'data_samples'} <= set(sample):
        raise ValueError(
            f'{where}.pipeline ends without inputs and data_samples, which a model takes: its last step is '
            "dict(type='PackPoseInputs')"
        )
    return sample


def _pass(info: dict, steps: Sequence, where: str) -> Any:
    for number, step in enumerate(steps):
        try:
            info = step(info)
        except USER_ERRORS:
            raise
        except Exception as error:
            name = type(step).__name__
            lacks = isinstance(error, KeyError) and error.args
            reason = (
                f'needs {error.args[0]!r}, which no step before it gives' if lacks else f'fails: {_of(error)}'
            )
            raise ValueError(f'{where}.pipeline.{number} ({name}) {reason}. {_SHOW}') from error
        if info is None:
            return None
    return info


@contextmanager
def _as_before(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode, where no statistics are kept; put random generators and the mode back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def _of(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
