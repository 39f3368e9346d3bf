"""Refuse to evaluate or resume a network with a checkpoint of another one.

MMEngine loads what fits and prints a warning about the rest, so a checkpoint of the wrong architecture is
evaluated with partly random weights. Fine-tuning (``load_from`` in training) keeps that behaviour, since
there a new head is the point, as long as something fits.
"""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

_PRIOR = 'discriminator.'  # the part of a mesh model that judges poses
_SHOWN = 4  # names per kind of mismatch that an error lists


class CheckpointMatchHook(Hook):
    """Checks a loaded checkpoint before its weights go into the model.

    Args:
        fine_tuning: Whether the run starts from the weights of another network, unless it is resumed.
        testing: Whether nothing is trained: the discriminator, which only training needs, may be missing.
    """

    priority = 'VERY_HIGH'

    def __init__(self, fine_tuning: bool = False, testing: bool = False):
        self.fine_tuning = fine_tuning
        self.testing = testing

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes.

        Raises:
            ValueError: If they differ; for fine-tuning, if nothing fits.
        """
        module = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model, weights = module.state_dict(), checkpoint.get('state_dict', checkpoint)
        if self.testing and not any(_PRIOR in name for name in weights):
            model = {name: value for name, value in model.items() if not name.startswith(_PRIOR)}
        problem = describe_mismatch(model, weights)
        if self.fine_tuning and not runner._resume:
            if not any(_fits(name, value, model) for name, value in weights.items()):
                raise ValueError(
                    f'nothing of {runner._load_from} fits this model, which would begin with random weights: '
                    f'{problem}. mmhier convert makes checkpoints of the weights of other projects'
                )
            return
        if problem:
            raise ValueError(
                f'the checkpoint {runner._load_from or "to resume from"} is not of this model: {problem}. '
                'Use the config that it was trained with, or mmhier convert for weights of another project'
            )


def _fits(name: str, value: Any, model: Mapping[str, Tensor]) -> bool:
    own = model.get(name.removeprefix('module.'))
    return own is not None and own.shape == getattr(value, 'shape', None)


def describe_mismatch(model: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Say in words how the weights differ from what the model has; empty if they fit."""
    weights = {name.removeprefix('module.'): value for name, value in weights.items()}
    shapes = [
        f'{name} is {tuple(weights[name].shape)} instead of {tuple(value.shape)}'
        for name, value in model.items()
        if name in weights and weights[name].shape != value.shape
    ]
    kinds = {
        'missing': sorted(set(model) - set(weights)),
        'unknown': sorted(set(weights) - set(model)),
        'of another shape': shapes,
    }
    parts = []
    for kind, names in kinds.items():
        if names:
            more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
            parts.append(f'{len(names)} {kind} ({", ".join(names[:_SHOWN])}{more})')
    return '; '.join(parts)
