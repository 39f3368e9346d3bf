"""MMEngine's runner for training that survives kills: for any config, the stock ones too.

In the place of MMEngine's loops and of its ``CheckpointHook`` it takes those of :mod:`mmhier.engine.loops`
and :mod:`mmhier.engine.checkpoint_hook`, which have the same settings. A config's own kinds of them stay;
then resuming is as exact as they are. Every checkpoint is whole or not there, whoever saves it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import convert_sync_batchnorm
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.checkpoint import _load_checkpoint, _load_checkpoint_to_model
from torch import nn

from mmhier.atomic import new_file
from mmhier.checkpoint_parts import PARTS, remove_parts
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.engine.checkpoint_hook import RECORD, ExactCheckpointHook, is_local
from mmhier.engine.loops import EpochLoop, IterLoop
from mmhier.engine.randomness import place_samples
from mmhier.engine.sharding import (
    FullyShardedModel,
    WholeForEvaluation,
    divide_checkpoint,
    gather,
    read_own_part,
    sharding_of,
    write_part,
)
from mmhier.engine.stop_signals import StopSignals

# What a checkpoint has that a run can go on from; the best ones and published ones are weights alone.
RESUMABLE = ('meta', 'state_dict', 'message_hub', 'optimizer')


class ExactRunner(Runner):
    """A runner whose resumed runs end as if they had not been interrupted."""

    stop_signals: StopSignals | None = None  # what may ask the run to save and to end
    sharding: FullyShardedModel | None = None  # how the model is to be divided in training
    sharded = False  # whether that is done
    _instead: dict[str, Any] | None = None  # what a checkpoint that is being saved holds in the place of rows

    @classmethod
    def described_by(cls, cfg: Config) -> 'ExactRunner':
        """Build a runner, and its model, from a config that somebody has written.

        Raises:
            ValueError: If that fails, in one sentence.
        """
        try:
            return cls.from_cfg(cfg)
        except (TypeError, KeyError, AttributeError, AssertionError, IndexError) as error:
            reason = ' '.join(str(error.args[0] if error.args else '').split())[:300]
            raise ValueError(
                f'what the config describes cannot be built: {type(error).__name__}: {reason}. '
                'MMHIER_TRACEBACK=1 shows where'
            ) from error

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the loop, in the place of a stock one ours."""
        if not isinstance(loop, dict) or len({'type', 'by_epoch'} & set(loop)) != 1:
            return super().build_train_loop(loop)
        if 'by_epoch' in loop:
            kind = EpochBasedTrainLoop if loop['by_epoch'] else IterBasedTrainLoop
        else:
            kind = LOOPS.get(loop['type']) if isinstance(loop['type'], str) else loop['type']
        ours = {EpochBasedTrainLoop: EpochLoop, IterBasedTrainLoop: IterLoop}.get(kind)
        if ours is None:
            self.logger.warning(
                f'train_cfg.type {loop["type"]}: whether resuming is exact is up to this loop'
            )
            return super().build_train_loop(loop)
        loader = self._train_dataloader
        if isinstance(loader, dict):
            own_seeds = self._randomness_cfg.get('diff_rank_seed', False)
            loader = self.build_dataloader(loader, seed=self.seed, diff_rank_seed=own_seeds)
        place_samples(loader)
        settings = {key: value for key, value in loop.items() if key not in ('type', 'by_epoch')}
        return ours(runner=self, dataloader=loader, **settings)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model; one that will be sharded stays as it is until its weights are initialised."""
        sharding = sharding_of(model_wrapper_cfg)
        if sharding is None:
            return super().wrap_model(model_wrapper_cfg, model)
        if not self.distributed:
            self.logger.warning('model_wrapper_cfg: there is one process, so nothing is sharded')
            return super().wrap_model(None, model)
        self.sharding = sharding
        sync_bn = self.cfg.get('sync_bn')
        return (convert_sync_batchnorm(model, sync_bn) if sync_bn else model).to(get_device())

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizers, for what each process has of the parameters."""
        if self.sharding is not None and not self.sharded:
            super()._init_model_weights()
            self.model = self.sharding.shard(self.model)
            self.sharded = True
            self.register_hook(WholeForEvaluation(self.sharding))
        return super().build_optim_wrapper(optim_wrapper)

    def _init_model_weights(self) -> None:
        if not self.sharded:
            super()._init_model_weights()

    def register_hook(self, hook: Hook | dict, priority: Any = None) -> None:
        """Register a hook, in the place of the stock ``CheckpointHook`` ours."""
        if isinstance(hook, dict):
            kind = hook.get('type')
            if kind is CheckpointHook or (isinstance(kind, str) and kind.split('.')[-1] == 'CheckpointHook'):
                hook = {**hook, 'type': ExactCheckpointHook}
        super().register_hook(hook, priority)

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        *args: Any,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        """Save a checkpoint, whole or not at all; arguments are MMEngine's."""
        settings = dict(kwargs, backend_args=backend_args)
        if self.sharded:
            self._instead = self._of_all_processes(Path(out_dir) / filename, save_optimizer)
            save_optimizer = False
        if is_main_process():
            backend = get_file_backend(out_dir, backend_args=backend_args)
            if file_client_args is not None or not is_local(backend):
                super().save_checkpoint(
                    out_dir, filename, file_client_args, save_optimizer, *args, **settings
                )
                return
            with new_file(Path(out_dir) / filename, durable=True) as temporary:
                super().save_checkpoint(out_dir, temporary.name, None, save_optimizer, *args, **settings)
            if self.sharded:
                remove_parts(Path(out_dir) / filename, self._instead.get(PARTS, {}).get('token'))
        if self.sharded:
            self._instead = None
            barrier()  # no process begins to write the next one before this one is there

    def _of_all_processes(self, path: Path, with_optimizer: bool) -> dict[str, Any]:
        """What the checkpoint of a sharded model holds: names of parts, or whole weights."""
        weights = self.model.state_dict()
        if with_optimizer:
            return {
                PARTS: write_part(path, dict(state_dict=weights, optimizer=self.optim_wrapper.state_dict()))
            }
        return dict(state_dict=gather(weights))

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call hooks, which see of a sharded model's checkpoint what is saved."""
        if fn_name == 'before_save_checkpoint' and self._instead is not None:
            del kwargs['checkpoint']['state_dict']
            kwargs['checkpoint'].update(self._instead)
        super().call_hook(fn_name, **kwargs)

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = 'cpu',
        strict: bool = False,
        revise_keys: Any = ((r'^module.', ''),),
    ) -> dict[str, Any]:
        """Load a checkpoint; a sharded model takes whole ones too, and parts of any number of processes."""
        if not self.sharded:
            return super().load_checkpoint(filename, map_location, strict, list(revise_keys))
        checkpoint = read_own_part(filename)
        if checkpoint is None:
            checkpoint = _load_checkpoint(filename, map_location='cpu')
            divide_checkpoint(checkpoint, self.model, self.optim_wrapper)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        checkpoint = _load_checkpoint_to_model(self.model, checkpoint, strict, revise_keys=list(revise_keys))
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def load_or_resume(self) -> None:
        """Load or resume; without a name, from the newest checkpoint that can be read.

        With ``resume='auto'`` ``load_from`` is what a run begins from that has no checkpoint yet.
        """
        if self._resume and (self._load_from is None or self._resume == 'auto') and not self._has_loaded:
            newest = self._newest_checkpoint()
            if newest is None:
                begins = f'begins from {self._load_from}' if self._load_from else 'begins'
                self.logger.info(f'{self.work_dir} has no checkpoint to resume from: training {begins}')
                self._resume = False
            self._load_from = newest or self._load_from
        super().load_or_resume()

    def _newest_checkpoint(self) -> str | None:
        """What the main process finds, in all processes."""
        found: list[Any] = [None, None]
        if is_main_process():
            try:
                found[0] = newest_checkpoint(self.work_dir, self.logger.warning)
            except (ValueError, OSError) as error:
                found[1] = error
        broadcast_object_list(found)
        if found[1] is not None:
            raise found[1]
        return found[0]


def newest_checkpoint(work_dir: str, say: Callable[[str], None]) -> str | None:
    """Find what to resume from: what ``last_checkpoint`` names, or the newest whole checkpoint beside it.

    Args:
        work_dir: Of the run.
        say: Is told what has been passed over.

    Returns:
        The file, None if there has been none.

    Raises:
        ValueError: If there are checkpoints, but none can be resumed from.
    """
    record = Path(work_dir) / RECORD
    name = record.read_text(errors='replace').strip() if record.is_file() else ''
    named = [Path(work_dir) / Path(name).name] if name else []
    if Path(name).parent.name:  # a bare name says nothing about the folder that the process happens to be in
        named.insert(0, Path(name))
    folders = dict.fromkeys([Path(work_dir), *(path.parent for path in named)])
    others = [
        path
        for folder in folders
        for path in folder.glob('*.pth')
        if path.is_file() and not path.name.startswith(('.', 'best_'))
    ]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    problems: dict[str, str] = {}
    for path in [*named, *others]:
        absolute = os.path.abspath(path)
        if absolute in problems:
            continue
        try:
            checkpoint = load_checkpoint_file(path)
        except (ValueError, OSError) as error:
            problems[absolute] = str(error)
            continue
        missing = [key for key in RESUMABLE if not isinstance(checkpoint, dict) or key not in checkpoint]
        if path not in named and missing:
            continue  # weights for another purpose
        if problems:
            passed = '; '.join(problems.values())
            say(f'{passed}. Resuming from {path}, the newest checkpoint that can be read')
        return str(path)
    if problems:
        raise ValueError(
            f'{work_dir} has no checkpoint that can be resumed from: {"; ".join(problems.values())}. Name '
            f'one with --resume FILE, or delete what is broken and {record} to begin anew'
        )
    return None
