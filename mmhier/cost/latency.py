"""How long something takes, and how much memory it needs on the way."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

_WARM_UP_RUNS = 2
_STATUS, _CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


class Timing(NamedTuple):
    """Seconds of repeated runs."""

    median: float
    p95: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> 'Timing':
        """Summarise seconds."""
        ordered = sorted(seconds)
        return cls(
            statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
        )


def time_in_turns(calls: Sequence[Callable[[], object]], runs: int, device: str = 'cpu') -> list[Timing]:
    """Time several calls in turns, so that whatever else the machine does hits all of them.

    Args:
        calls: What is timed.
        runs: Timed runs of each; two more warm up.
        device: Waited for after each run if it is a GPU.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for run in range(runs + _WARM_UP_RUNS):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if device.startswith('cuda'):
                torch.cuda.synchronize(device)
            if run >= _WARM_UP_RUNS:
                seconds[index].append(time.perf_counter() - start)
    return [Timing.of(values) for values in seconds]


def peak_memory(call: Callable[[], object], device: str = 'cpu') -> int | None:
    """Measure how far a call takes the memory above what was in use before it, in bytes.

    On a GPU these are PyTorch's allocations; on a CPU the resident memory of the process, which only Linux
    tells: elsewhere the answer is None.
    """
    if device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before counts as free
        _CLEAR.write_text('5')  # the peak starts anew
        before = _resident('VmRSS')
        call()
        return max(0, _resident('VmHWM') - before)
    except (OSError, AttributeError):
        return None


def _resident(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
