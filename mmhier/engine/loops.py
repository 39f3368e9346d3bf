"""MMEngine's two loops of training, which go on after a resume exactly where the run was.

A checkpoint holds the place of the run in its data: the turn through the data, the batches of it that have
been trained on, and the sampler's seed. A resumed run leaves these batches out without loading them, in the
middle of an epoch too. If the last thing that the run did was to finish what is followed by a validation, and
the checkpoint does not say that this was done, the resumed run begins with it.

Random numbers are those of :mod:`mmhier.engine.randomness`.
"""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

from mmhier.engine.randomness import PlacedBatches, begin_turn, seed_step

# In the message hub: the number of steps after which the run was last validated. (What
# begins with the name of a phase MMEngine logs among its scores.)
VALIDATED = 'last_validated_iter'


class EpochLoop(EpochBasedTrainLoop):
    """Counts epochs."""

    batches = 0  # of this epoch that have been trained on

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        if self._iter and not self.batches:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train on the batches of an epoch that have not been trained on."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if isinstance(self.dataloader.batch_sampler, PlacedBatches):
            batches = begin_turn(self.dataloader, self.runner.seed, self._epoch, self.batches)
        else:
            batches, self.batches = iter(self.dataloader), 0
        for number, batch in enumerate(batches, self.batches):
            self.run_iter(number, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.batches = 0

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Train on a batch."""
        seed_step(self.runner.seed, self._iter)
        self.batches = idx + 1
        super().run_iter(idx, data_batch)

    def place(self, meta: dict[str, Any]) -> dict[str, Any]:
        """What a checkpoint with this ``meta`` has to say for :meth:`go_on`."""
        epoch = meta['epoch']
        return _place(self.dataloader, epoch, self.batches if epoch == self._epoch else 0)

    def go_on(self, place: dict[str, Any] | None) -> None:
        """Continue a run whose numbers of epochs and steps are set; without a place, as these tell."""
        if place is None:
            self.batches = max(0, self._iter - self._epoch * len(self.dataloader))
        else:
            self.batches = _restore(self.dataloader, place)
        if self.batches:
            _say(f'goes on after {self.batches} batches of epoch {self._epoch + 1}')

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        _validate_if_due(self, self._epoch, self._max_epochs)


class IterLoop(IterBasedTrainLoop):
    """Counts steps."""

    placed = False  # whether a resumed run stands where it was in its data

    def __init__(self, runner: Any, dataloader: DataLoader | dict, **kwargs: Any):
        super().__init__(runner, dataloader, **kwargs)
        if isinstance(self.dataloader.batch_sampler, PlacedBatches):
            self.dataloader_iterator = Turns(self.dataloader)

    def run(self) -> Any:
        """Train."""
        if isinstance(self.dataloader.batch_sampler, PlacedBatches):
            self.dataloader.batch_sampler.seed = self.runner.seed
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter:
            if not self.placed:
                self._load_what_was_seen()
            self._validate_if_due()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """Train on a batch."""
        seed_step(self.runner.seed, self._iter)
        super().run_iter(data_batch)

    def place(self, meta: dict[str, Any]) -> dict[str, Any] | None:
        """What a checkpoint has to say for :meth:`go_on`."""
        turns = self.dataloader_iterator
        return _place(self.dataloader, turns.turn, turns.batches) if isinstance(turns, Turns) else None

    def go_on(self, place: dict[str, Any] | None) -> None:
        """Continue a run whose number of steps is set; without a place all is loaded again."""
        turns = self.dataloader_iterator
        if place is None or not isinstance(turns, Turns):
            return
        self.placed = True
        turns.turn, turns.batches = place['turn'], _restore(self.dataloader, place)
        _say(f'goes on after {turns.batches} batches of turn {turns.turn + 1} through the data')

    def _load_what_was_seen(self) -> None:
        """Load and throw away, as MMEngine does: streams, foreign checkpoints; not with ResumeDrawsHook."""
        for _ in range(self._iter):
            next(self.dataloader_iterator)

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        _validate_if_due(self, self._iter, self._max_iters)


class Turns:
    """Batches of a loader without end: after its last batch it begins again.

    Args:
        loader: A loader with places.
    """

    def __init__(self, loader: DataLoader):
        self.loader = loader
        self.turn = 0
        self.batches = 0  # of this turn that have been given
        self._iterator: Iterator | None = None

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._begin()
        try:
            batch = next(self._iterator)
        except StopIteration:
            self.turn, self.batches = self.turn + 1, 0
            self._begin()
            batch = next(self._iterator)
        self.batches += 1
        return batch

    def _begin(self) -> None:
        sampler = _sampler(self.loader)
        if self.turn and hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(self.turn)
        self._iterator = begin_turn(self.loader, self.loader.batch_sampler.seed, self.turn, self.batches)


def _place(loader: DataLoader, turn: int, batches: int) -> dict[str, Any]:
    seed = getattr(_sampler(loader), 'seed', None)
    samples = (getattr(loader.batch_sampler, 'batch_size', None) or 0) * get_world_size()
    return dict(turn=turn, batches=batches, samples_per_step=samples, seed=seed)


def _restore(loader: DataLoader, place: dict[str, Any]) -> int:
    """Give the sampler its seed; return the number of batches of this turn to leave out."""
    sampler = _sampler(loader)
    if place['seed'] is not None and hasattr(sampler, 'seed'):
        sampler.seed = place['seed']
    before, now = (item['samples_per_step'] for item in (place, _place(loader, 0, 0)))
    if before == now or not before or not now:
        return place['batches']
    _say(f'had {before} samples per step over all processes, now {now}: the order of data is not the same')
    return place['batches'] * before // now


def _sampler(loader: DataLoader) -> Any:
    """The sampler, which a batch sampler given in the config holds."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def _validate_if_due(loop: EpochLoop | IterLoop, count: int, last: int) -> None:
    """Validate if it is the turn of this count of epochs or steps, unless that has been done."""
    runner = loop.runner
    if runner.val_loop is None or count < loop.val_begin or (count % loop.val_interval and count != last):
        return
    if runner.message_hub.get_info(VALIDATED) != loop.iter:
        runner.val_loop.run()


def _say(text: str) -> None:
    print_log(f'resumed: the run {text}', logger='current', level=logging.INFO)
