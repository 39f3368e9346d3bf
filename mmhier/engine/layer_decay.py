"""Layer-wise learning-rate decay for any backbone that knows its own depth.

The rule is ViTPose's (arXiv 2204.12484): a parameter of layer ``i`` out of ``L`` learns at
``lr * rate ** (L + 1 - i)``, where the patch embedding is layer 0, block ``k`` is layer ``k + 1`` and
whatever comes after the last block, closing norm, neck and head included, is layer ``L + 1``. The
backbone itself answers which layer a parameter belongs to (``backbone.layer_id(name)`` and
``backbone.num_layers``); nothing is guessed from the spelling of parameter names. What does not decay, each
part of the model answers for itself (``no_weight_decay()``, as in timm).
"""

import logging

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmpose.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

_KNOWN_KEYS = {'layer_decay_rate', 'custom_keys'}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerIdDecayConstructor(DefaultOptimWrapperConstructor):
    """Optimizer constructor with layer-wise decay driven by ``backbone.layer_id``.

    One-dimensional parameters, biases and what ``no_weight_decay()`` of the backbone, the neck or the head
    names get no weight decay. In ``custom_keys`` the longest key that occurs in a parameter's name applies
    its ``lr_mult`` and ``decay_mult`` on top.

    Args:
        optim_wrapper_cfg: The optimizer wrapper's config.
        paramwise_cfg: ``layer_decay_rate`` in (0, 1] and, optionally, ``custom_keys``.

    Raises:
        ValueError: If a key is unknown, the rate is out of range, or the backbone cannot tell its layers.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        paramwise_cfg = dict(paramwise_cfg or {})
        unknown = set(paramwise_cfg) - _KNOWN_KEYS
        if unknown:
            raise ValueError(
                f'paramwise_cfg has unknown keys {sorted(unknown)}; LayerIdDecayConstructor reads '
                f'{sorted(_KNOWN_KEYS)}'
            )
        self.rate = paramwise_cfg.get('layer_decay_rate')
        if not isinstance(self.rate, int | float) or not 0 < self.rate <= 1:
            raise ValueError(f'paramwise_cfg.layer_decay_rate must lie in (0, 1], got {self.rate!r}')
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module=None) -> None:
        """Append one parameter group per (layer, multipliers) to ``params``."""
        backbone = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'layer_id') or not hasattr(backbone, 'num_layers'):
            raise ValueError(
                f'layer-wise decay needs a backbone with layer_id() and num_layers; '
                f"{type(backbone).__name__} has none. Use one of mmhier's backbones, or remove "
                f'optim_wrapper.constructor from the config'
            )
        undecayed = {
            f'{part}.{name}'
            for part, child in module.named_children()
            if hasattr(child, 'no_weight_decay')
            for name in child.no_weight_decay()
        }
        groups: dict[tuple, dict] = {}
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            layer, scale, decay = self._multipliers(name, param, backbone)
            decay = 0.0 if name in undecayed else decay
            group = groups.setdefault(
                (layer, scale, decay),
                dict(
                    params=[],
                    param_names=[],
                    lr=self.base_lr * scale,
                    lr_scale=scale,
                    weight_decay=(self.base_wd or 0.0) * decay,
                ),
            )
            group['params'].append(param)
            group['param_names'].append(name)
        for (layer, scale, decay), group in sorted(groups.items(), key=lambda item: item[0]):
            names = group.pop('param_names')
            print_log(
                f'layer {layer:3d}: lr x {scale:.3g}, weight decay x {decay:g}, {len(names)} tensors',
                logger='current',
                level=logging.DEBUG,
            )
            params.append(group)

    def _multipliers(self, name: str, param: nn.Parameter, backbone: nn.Module) -> tuple[int, float, float]:
        """Return the layer, the learning-rate scale and the weight-decay scale of one parameter."""
        last = backbone.num_layers + 1
        layer = backbone.layer_id(name.removeprefix('backbone.')) if name.startswith('backbone.') else last
        scale = self.rate ** (last - layer)
        decay = 0.0 if param.ndim == 1 or name.endswith('.bias') else 1.0
        custom_keys = self.paramwise_cfg.get('custom_keys', {})
        for key in sorted(custom_keys, key=lambda key: (-len(key), key)):
            if key in name:
                scale *= custom_keys[key].get('lr_mult', 1.0)
                decay *= custom_keys[key].get('decay_mult', 1.0)
                break
        return layer, scale, decay
