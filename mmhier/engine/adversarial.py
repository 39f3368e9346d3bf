"""Two optimizers for a model with a discriminator, one backward pass for both.

The model hands over one loss per optimizer. The losses share no parameter: the generator's reaches the
discriminator as a constant, the discriminator's gets detached predictions. So it does not matter in which
order they are propagated and stepped, and one forward pass per iteration serves both, under
``MMDistributedDataParallel``, automatic mixed precision and gradient accumulation too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmpose.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn

NAMES = ('generator', 'discriminator')


class AdversarialOptimWrapper(OptimWrapperDict):
    """``OptimWrapperDict`` that steps all of its optimizers after each iteration."""

    def update_params(
        self, loss: Mapping[str, Tensor], step_kwargs: dict | None = None, zero_kwargs: dict | None = None
    ) -> None:
        """Propagate all losses, then step those optimizers that are due.

        Args:
            loss: Optimizer -> its loss.
            step_kwargs: For ``Optimizer.step``.
            zero_kwargs: For ``Optimizer.zero_grad``.

        Raises:
            ValueError: If an optimizer has no loss.
        """
        if not isinstance(loss, Mapping) or set(loss) != set(self.keys()):
            found = sorted(loss) if isinstance(loss, Mapping) else 'a single one'
            raise ValueError(
                f'AdversarialOptimWrapper needs a loss for each of {sorted(self.keys())}, got {found}: the '
                'model needs discriminator and mocap'
            )
        for name, wrapper in self.items():
            wrapper.backward(wrapper.scale_loss(loss[name]))
        for wrapper in self.values():
            if wrapper.should_update():
                wrapper.step(**(step_kwargs or {}))
                wrapper.zero_grad(**(zero_kwargs or {}))

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast and, while gradients accumulate, no synchronisation, as the generator's wrapper has it."""
        with self['generator'].optim_context(model):
            yield

    def initialize_count_status(self, model: nn.Module, cur_iter: int, max_iters: int) -> None:
        """Tell every optimizer where the run stands, which gradient accumulation needs."""
        for wrapper in self.values():
            wrapper.initialize_count_status(model, cur_iter, max_iters)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AdversarialConstructor:
    """Builds an :class:`AdversarialOptimWrapper` for a model with a part named ``discriminator``.

    Args:
        optim_wrapper_cfg: ``generator`` and ``discriminator``, each the config of an optimizer wrapper with
            its own ``constructor`` and ``paramwise_cfg`` if it has any. What stands beside them (``type``,
            ``loss_scale``, ``accumulative_counts`` ...) applies to both.
        paramwise_cfg: Not used; it belongs into ``generator``.

    Raises:
        ValueError: If one of the two is missing, or ``paramwise_cfg`` stands in the wrong place.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        if paramwise_cfg:
            raise ValueError(f'optim_wrapper.paramwise_cfg must stand in one of optim_wrapper.{NAMES}')
        missing = [name for name in NAMES if name not in optim_wrapper_cfg]
        if missing:
            raise ValueError(f'AdversarialConstructor needs optim_wrapper.{missing[0]}')
        shared = {key: value for key, value in optim_wrapper_cfg.items() if key not in NAMES}
        self.configs = {name: {**shared, **optim_wrapper_cfg[name]} for name in NAMES}

    def __call__(self, model: nn.Module) -> AdversarialOptimWrapper:
        """Build the optimizers.

        Raises:
            ValueError: If the model has no discriminator.
        """
        model = getattr(model, 'module', model)
        discriminator = getattr(model, 'discriminator', None)
        if discriminator is None:
            raise ValueError(
                f'{type(model).__name__} has no discriminator: set model.discriminator, or use an '
                'optim_wrapper with a single optimizer'
            )
        generator = nn.Module()
        for name, part in model.named_children():
            if part is not discriminator:
                generator.add_module(name, part)
        parts = dict(generator=generator, discriminator=discriminator)
        return AdversarialOptimWrapper(
            **{name: build_optim_wrapper(parts[name], self.configs[name]) for name in NAMES}
        )
