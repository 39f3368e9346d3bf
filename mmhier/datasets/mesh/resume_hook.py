"""Goes on with the next draw when a run is resumed, and says how many samples were of no use.

MMEngine's loop for iterations resumes by loading and throwing away everything that the run has already seen,
which takes as long as the first time. With :class:`.mixed_dataset.DrawSampler` nothing has to be loaded: the
checkpoint knows the seed and the number of the next draw. They count over all processes, so a run may be
resumed with another number of processes or another batch size.
"""

import logging
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from mmhier.datasets.mesh.mixed_dataset import DrawSampler

KEY = 'draws'


@HOOKS.register_module()
class ResumeDrawsHook(Hook):
    """Saves the place of a run in its draws, and resumes there; for ``IterBasedTrainLoop``."""

    def __init__(self) -> None:
        self._resumed: dict[str, int] | None = None
        self._first_iter = 0

    def before_train(self, runner: Runner) -> None:
        """Move the sampler to where the run stopped, and keep the loop from getting there by loading."""
        sampler = self._sampler(runner)
        self._first_iter = runner.iter
        if self._resumed is None or not runner.iter:
            return
        sampler.seed, sampler.start = self._resumed['seed'], self._resumed['next']
        loop = runner.train_loop
        iterator = type(loop.dataloader_iterator)
        loop.dataloader_iterator = _Resumed(iterator(loop.dataloader), runner.iter)
        text = f'resumed at draw {sampler.start} of seed {sampler.seed}'
        print_log(text, logger='current', level=logging.INFO)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add seed and number of the next draw."""
        sampler = self._sampler(runner)
        # meta counts the iteration after which it is saved, runner.iter does not yet
        iterations = checkpoint['meta']['iter'] - self._first_iter
        drawn = iterations * runner.train_dataloader.batch_size * sampler.world_size
        checkpoint[KEY] = dict(seed=int(sampler.seed), next=int(sampler.start + drawn))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember where the run stopped."""
        self._resumed = checkpoint.get(KEY)

    def after_train(self, runner: Runner) -> None:
        """Say how many samples were skipped."""
        skipped = self._sampler(runner).dataset.num_skipped
        text = ', '.join(f'{name}: {count}' for name, count in skipped.items())
        print_log(f'samples skipped in training because they are of no use: {text}', logger='current')

    @staticmethod
    def _sampler(runner: Runner) -> DrawSampler:
        sampler = runner.train_dataloader.sampler
        if not isinstance(sampler, DrawSampler) or not sampler.infinite:
            raise ValueError(
                'ResumeDrawsHook needs an infinite DrawSampler in train_dataloader and IterBasedTrainLoop, '
                f'got {type(sampler).__name__}'
            )
        return sampler


class _Resumed:
    """Answers the loop's requests for what it has already seen with nothing."""

    def __init__(self, iterator: Any, seen: int):
        self.iterator = iterator
        self.seen = seen

    def __next__(self) -> Any:
        if self.seen:
            self.seen -= 1
            return None
        return next(self.iterator)
