"""A signal asks a run to save and to end: SIGUSR1, which Slurm sends ahead of its time limit, and SIGTERM.

The step that is under way is finished, a checkpoint of it is written, and the command ends with
:data:`STATUS`, which tells a script of Slurm to ask for the job again. The processes of a run agree on the
step; where there are several, they compare every :data:`EVERY` steps. Under torchrun nothing is done: it
starts processes again itself, and ends those that are left of a run that has failed with SIGTERM.
"""

import os
import signal
import threading
from types import FrameType

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, get_world_size

STATUS = 75  # sysexits.h: try again later
EVERY = 10  # steps
SIGNALS = tuple(getattr(signal, name) for name in ('SIGUSR1', 'SIGTERM') if hasattr(signal, name))


class RunStopped(SystemExit):
    """The run has saved where it is, because a signal asked it to end."""

    def __init__(self, path: str):
        super().__init__(STATUS)
        self.path = path


class StopSignals:
    """Takes note of signals while it is entered; after the first one they end the process as ever."""

    def __init__(self):
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> 'StopSignals':
        if threading.current_thread() is threading.main_thread() and not under_torchrun():
            self._before = {number: signal.signal(number, self._take_note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        for known in SIGNALS:
            signal.signal(known, self._before[known])

    def is_due(self, step: int) -> bool:
        """Whether the run is to end after this number of steps; all processes get the same answer."""
        if get_world_size() == 1:
            return self.asked
        if under_torchrun() or step % EVERY:
            return False
        asked = torch.tensor(int(self.asked), device=get_device())
        all_reduce(asked, 'max')
        return bool(asked)


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return 'TORCHELASTIC_RUN_ID' in os.environ
