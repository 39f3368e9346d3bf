"""Checkpoints that outlive a kill at any moment, and that hold all that an exact resume needs.

A new checkpoint is whole on the disk before anything points to it, and ``last_checkpoint`` names it before
an old one is deleted; the same holds for the best ones. What a killed run had no time to delete is deleted
when it is resumed. After a validation the checkpoint of the same step is written again, so that it knows the
scores and that the validation is done.

Beside MMEngine's entries there are:

* ``place``: where the run is in its data, see :mod:`mmhier.engine.loops`;
* ``ranks``: what differs between processes, one dictionary each: ``buffers`` (between two synchronisations,
  running statistics are each process's own) and ``gradients`` (while they accumulate). Absent if nothing
  does.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmhier.atomic import new_file, remove_leftovers
from mmhier.checkpoint_parts import remove_parts, remove_what_no_checkpoint_names
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.engine.loops import VALIDATED, EpochLoop, IterLoop
from mmhier.engine.sharding import divide, own_rows, with_rows
from mmhier.engine.stop_signals import RunStopped

# In the message hub: files that are to be deleted once the checkpoint that says so is written.
OBSOLETE = 'obsolete_ckpts'
RECORD = 'last_checkpoint'
STOPPED = 'stopped.pth'  # of a run that a signal has asked to end; until there is another one


class ExactCheckpointHook(CheckpointHook):
    """MMEngine's hook, with its arguments and its file names."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._loaded: dict[str, Any] | None = None
        self._ranks: list[dict] | None = None
        self._saved_iter = -1  # number of steps after which a checkpoint was last written

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember where the run was, if it is resumed.

        Raises:
            ValueError: If the checkpoint holds weights alone, as the best ones do.
        """
        if runner._resume:
            if self.save_optimizer and 'optimizer' not in checkpoint:
                raise ValueError(
                    f'{runner._load_from} holds no optimizer, no run can go on from it. Resume from another '
                    'checkpoint, or begin a new run with its weights: --cfg-options '
                    f'load_from={runner._load_from}'
                )
            self._loaded = {key: checkpoint.get(key) for key in ('place', 'ranks')}

    def before_train(self, runner: Runner) -> None:
        """Clear up after a kill and go on where the run was."""
        super().before_train(runner)
        self._obsolete: list[str] = list(runner.message_hub.get_info(OBSOLETE) or ())
        self.file_backend = _DeletesLater(self.file_backend, self._obsolete)
        if is_main_process():
            for folder in {runner.work_dir, self.out_dir}:
                for path in remove_leftovers(folder, rf'.*\.pth|{RECORD}'):
                    runner.logger.info(f'deleted {path}, which a killed run did not finish')
                remove_what_no_checkpoint_names(folder, partial(load_checkpoint_file, whole=False))
        if self._loaded is None:
            self._obsolete.clear()
            return
        self._saved_iter, last = runner.iter, runner.message_hub.get_info('last_ckpt')
        self.last_ckpt = last if last and self.file_backend.isfile(last) else None
        self._say_what_is_gone(runner)
        self._delete_obsolete(runner)
        if isinstance(runner.train_loop, EpochLoop | IterLoop):
            runner.train_loop.go_on(self._loaded['place'])
        ranks = self._loaded['ranks'] or ()
        if len(ranks) == get_world_size():
            restore_rank_state(runner.model, ranks[get_rank()])
        elif ranks:
            runner.logger.warning(
                f'the checkpoint is of {len(ranks)} processes, not {get_world_size()}: running statistics '
                'are those of the first, and gradients that were accumulating are lost'
            )
        self._loaded = None
        if self.last_ckpt and os.path.basename(self.last_ckpt) == STOPPED:
            self._obsolete.append(self.last_ckpt)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Save if it is the turn of this step, or if the run is to end now.

        Raises:
            RunStopped: If a signal has asked for that, and the checkpoint is written.
        """
        super().after_train_iter(runner, *args, **kwargs)
        signals = getattr(runner, 'stop_signals', None)
        if signals is not None and signals.is_due(runner.iter + 1):
            meta = dict(epoch=runner.epoch, iter=runner.iter + 1)
            self._save(runner, self.file_backend.join_path(self.out_dir, STOPPED), meta)
            raise RunStopped(self.last_ckpt)

    def _say_what_is_gone(self, runner: Runner) -> None:
        hub = runner.message_hub.runtime_info
        for key in [key for key in hub if key.startswith('best_ckpt')]:
            if hub[key] and not (self.file_backend.isfile(hub[key]) or self.file_backend.isdir(hub[key])):
                score = hub.get(key.replace('best_ckpt', 'best_score'))
                runner.logger.warning(
                    f'the best checkpoint so far, {hub[key]}, is not there any more; the next one is saved '
                    f'when its score is better than {score}'
                )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add what an exact resume needs."""
        if isinstance(runner.train_loop, EpochLoop | IterLoop):
            checkpoint['place'] = runner.train_loop.place(checkpoint['meta'])
        if self._ranks is not None:
            checkpoint['ranks'] = self._ranks

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Save the best checkpoint, and that the validation is done."""
        runner.message_hub.update_info(VALIDATED, runner.iter)
        saved, self._saved_iter = self._saved_iter, -1
        super().after_val_epoch(runner, metrics)
        if saved == runner.iter != self._saved_iter:
            step = runner.epoch if self.by_epoch else runner.iter
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=runner.iter))
        if self.last_ckpt is None:  # no checkpoint has been due yet that would say what is obsolete
            self._delete_obsolete(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self.file_backend.remove(self._path(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self._save(runner, self._path(step), meta)

    def _save(self, runner: Runner, path: str, meta: dict[str, Any]) -> None:
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.message_hub.update_info(OBSOLETE, list(self._obsolete))
        self._saved_iter = meta['iter']
        self._ranks = gather_rank_states(runner.model)
        runner.save_checkpoint(
            self.out_dir,
            os.path.basename(self.last_ckpt),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._ranks = None
        if is_main_process():
            with new_file(Path(runner.work_dir) / RECORD, durable=True) as temporary:
                temporary.write_text(self.last_ckpt)
        self._delete_obsolete(runner)

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _delete_obsolete(self, runner: Runner) -> None:
        """Delete what is to be deleted, is this run's own and has not been written again since."""
        hub = runner.message_hub.runtime_info
        needed = {os.path.abspath(hub[key]) for key in hub if key.startswith(('best_ckpt', 'last_ckpt'))}
        folder = os.path.abspath(self.out_dir)
        for path in self._obsolete if is_main_process() else ():
            absolute = os.path.abspath(path)
            if absolute not in needed and os.path.dirname(absolute) == folder:
                self.file_backend.delete(path)
        self._obsolete.clear()


class _DeletesLater:
    """A file backend that takes note of what it is to delete.

    Args:
        backend: MMEngine's.
        obsolete: The notes.
    """

    def __init__(self, backend: Any, obsolete: list[str]):
        self.backend = backend
        self.obsolete = obsolete

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Take note."""
        self.obsolete.append(str(path))

    rmtree = remove

    def delete(self, path: str) -> None:
        """Delete now, with its parts if there are any; DeepSpeed's checkpoints are folders."""
        if self.backend.isfile(path):
            self.backend.remove(path)
            if is_local(self.backend):
                remove_parts(path)
        elif self.backend.isdir(path):
            self.backend.rmtree(path)


def is_local(backend: Any) -> bool:
    """Whether files lie in this machine's file system."""
    return isinstance(backend, LocalBackend)


def gather_rank_states(model: nn.Module) -> list[dict[str, dict]] | None:
    """Collect from all processes what differs between them; None if nothing does."""
    model = model.module if is_model_wrapper(model) else model
    divide(model)
    gradients = {
        name: own_rows(parameter.grad).cpu()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and own_rows(parameter.grad).any()
    }
    buffers = {}
    if get_world_size() > 1:
        saved = model.state_dict().keys()
        buffers = {name: buffer.cpu() for name, buffer in model.named_buffers() if name in saved}
    ranks = all_gather_object(dict(buffers=buffers, gradients=gradients))
    alike = all(
        torch.equal(value, rank['buffers'][name])
        for rank in ranks
        for name, value in ranks[0]['buffers'].items()
    )
    return None if alike and not any(rank['gradients'] for rank in ranks) else ranks


def restore_rank_state(model: nn.Module, state: dict[str, dict]) -> None:
    """Give a process its own buffers and gradients back."""
    model = model.module if is_model_wrapper(model) else model
    buffers = dict(model.named_buffers())
    with torch.no_grad():
        for name, value in state['buffers'].items():
            buffers[name].copy_(value)
    parameters = dict(model.named_parameters())
    for name, value in state['gradients'].items():
        parameter = parameters[name]
        parameter.grad = with_rows(value.to(own_rows(parameter)), parameter)
