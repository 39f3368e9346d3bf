"""Parameters and multiply-adds of a pose or mesh model, without computing or storing anything.

The model is built and run on PyTorch's meta device. Counted are the multiply-adds of convolutions and matrix
products, those of attention included. A module adds by its method ``uncounted_macs(*inputs)`` what its paper
counts beyond that: a scan, which is no matrix product, or work that this implementation saves.
"""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

FORMULA = """\
GMACs: 10^9 multiply-adds of convolutions and matrix products for one image, attention included, counted as
for the papers' graphs: Swin with its windows padded (mmhier computes less), and a selective scan over L
positions of K directions x D channels with N states as (9 N + 1) L K D, its authors' formula. Normalisations,
activations and other element-wise work are not counted."""


@dataclass(frozen=True)
class Cost:
    """What a pose or mesh model costs for one image.

    Attributes:
        name: Name of the config.
        input_wh: Width and height of the image, pixels.
        encoder_params: Parameters of the backbone.
        params: Parameters of the model; a discriminator, needed in training only, is left out.
        encoder_macs: Multiply-adds of the backbone.
        macs: Multiply-adds of the model.
        reported_ap: AP on COCO val as the head of the config reports it, in percent, or None.
        reported_pa_mpjpe: Likewise PA-MPJPE on Human3.6M, in millimetres.
        source: Who reported it.
        has_mesh: Whether the model recovers meshes.
    """

    name: str
    input_wh: tuple[int, int]
    encoder_params: int
    params: int
    encoder_macs: int
    macs: int
    reported_ap: float | None
    reported_pa_mpjpe: float | None
    source: str
    has_mesh: bool


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
    """
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS

    init_default_scope('mmpose')
    cfg = Config.fromfile(path)
    settings = copy.deepcopy(cfg.model)
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
    """Look up or count everything that :class:`Cost` has, for the model of a config.

    Args:
        path: Config file of a top-down pose or mesh model.
    """
    path = Path(path)
    model, (width, height) = build_model(path, 'meta')
    images = torch.empty(1, 3, height, width, device='meta')

    def run_all() -> object:
        return model.head.forward(model.extract_feat(images))

    ap, ap_source = reported(path, r'AP')
    error, error_source = reported(path, r'PA-MPJPE on Human3\.6M')
    parts = [part for name, part in model.named_children() if name != 'discriminator']
    return Cost(
        path.stem,
        (width, height),
        count_parameters(model.backbone),
        sum(count_parameters(part) for part in parts),
        count_macs(model.backbone, lambda: model.backbone(images)),
        count_macs(model, run_all),
        ap,
        error,
        ap_source or error_source,
        hasattr(model, 'body'),
    )


def reported(path: str | Path, what: str) -> tuple[float | None, str]:
    """Read a score and its source from the comment at the head of a config.

    Args:
        path: The config.
        what: Regular expression of what follows the number.
    """
    comment = [line for line in Path(path).read_text(encoding='utf-8').splitlines()[:6] if line[:1] == '#']
    found = re.search(rf'(\d\d\.\d) {what} \(([^)]*)\)', ' '.join(comment))
    return (float(found[1]), found[2]) if found else (None, '')
