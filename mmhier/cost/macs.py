"""Parameters and multiply-adds of a pose or mesh model, without computing or storing anything.

The model is built and run on PyTorch's meta device. Counted are the multiply-adds of convolutions and matrix
products, those of attention included. A module adds by its method ``uncounted_macs(*inputs)`` what its paper
counts beyond that: a scan, which is no matrix product, or work that this implementation saves.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmhier.cost.kept import AP, PA_MPJPE, Cost, reported
from mmhier.student import without_teacher

# Kinds of models whose cost is known.
KINDS = ('TopdownPoseEstimator', 'TopdownMeshEstimator')


def count_parameters(module: nn.Module) -> int:
    """Count the parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(network: nn.Module, run: Callable[[], object]) -> int:
    """Count the multiply-adds of a call.

    Args:
        network: The module whose parts may know of more than the operators show.
        run: Calls it, or a part of it.
    """
    counter = FlopCounterMode(display=False)
    uncounted = 0

    def ask(module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal uncounted
        uncounted += module.uncounted_macs(*inputs)

    handles = [
        module.register_forward_hook(ask) for module in network.modules() if hasattr(module, 'uncounted_macs')
    ]
    try:
        with counter, torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return counter.get_total_flops() // 2 + uncounted


def build_model(path: str | Path, device: str = 'cpu') -> tuple[nn.Module, tuple[int, int]]:
    """Build the model of a config with random weights, in evaluation mode.

    Args:
        path: Config file of a top-down pose or mesh model.
        device: Where its parameters are made; ``'meta'`` makes none.

    Returns:
        The model, and the width and height of its input.

    Raises:
        ValueError: If it is another kind of model.
    """
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS

    init_default_scope('mmpose')
    cfg = Config.fromfile(path)
    settings = copy.deepcopy(without_teacher(cfg.get('model') or {}))
    if settings.get('type') not in KINDS:
        kind = settings.get('type') or 'config without a model'
        raise ValueError(f'{Path(path).stem} is a {kind}: only top-down pose and mesh models are counted')
    settings.backbone.pop('init_cfg', None)
    with torch.device(device):
        model = MODELS.build(settings)
    model.train(False)
    if 'decoder' in settings.head:
        return model, tuple(settings.head.decoder.input_size)
    return model, _crop_of(cfg)


def _crop_of(cfg: Config) -> tuple[int, int]:
    """Width and height of the crops of a mesh model."""
    (box,) = [step for step in cfg.val_dataloader.dataset.pipeline if step['type'] == 'MeshBox']
    shrink = cfg.model.data_preprocessor.get('shrink', 1)
    width, height = box['aspect_wh']
    return width // shrink, height // shrink


def cost_of(path: str | Path) -> Cost:
    """Count everything that :class:`Cost` has; :func:`mmhier.cost.kept.find_cost` does it once.

    Args:
        path: Config file of a top-down pose or mesh model.

    Raises:
        ValueError: If it is of another kind of model.
    """
    path = Path(path)
    model, (width, height) = build_model(path, 'meta')
    images = torch.empty(1, 3, height, width, device='meta')

    maps = ()

    def encode() -> None:
        nonlocal maps
        maps = model.backbone(images)

    def decode() -> object:
        return model.head.forward(model.neck(maps) if model.with_neck else maps)

    ap, ap_source = reported(path, AP)
    error, error_source = reported(path, PA_MPJPE)
    encoder_macs = count_macs(model.backbone, encode)
    parts = [part for name, part in model.named_children() if name != 'discriminator']
    return Cost(
        path.stem,
        (width, height),
        count_parameters(model.backbone),
        sum(count_parameters(part) for part in parts),
        encoder_macs,
        encoder_macs + count_macs(model, decode),
        ap,
        error,
        ap_source or error_source,
        hasattr(model, 'body'),
    )
