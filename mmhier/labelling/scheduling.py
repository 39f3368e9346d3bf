"""Gives shards to workers until all are done; those of workers that die are given to others."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from mmhier.labelling.labeller import Job, Labeller, Report
from mmhier.labelling.plan import Shard
from mmhier.results.writer import OutputError

# How often a shard is tried, before it is left out.
ATTEMPTS = 3


@dataclass(frozen=True)
class Failure:
    """A shard that was not done.

    Attributes:
        shard: Which.
        reason: Why, one line.
    """

    shard: Shard
    reason: str


class Pool(Protocol):
    """Workers. A shard is with one worker at a time."""

    def free(self) -> int:
        """How many shards could be started now."""

    def start(self, shard: Shard) -> None:
        """Give a shard to a worker that has none."""

    def wait(self) -> tuple[Shard, Report | Exception]:
        """Wait for any of the shards that were started, and say what came of it."""


class OwnProcess:
    """A pool of one worker, which is this process."""

    def __init__(self, job: Job):
        self._labeller = Labeller(job)
        self._shard: Shard | None = None

    def free(self) -> int:
        """See :class:`Pool`."""
        return int(self._shard is None)

    def start(self, shard: Shard) -> None:
        """See :class:`Pool`."""
        self._shard = shard

    def wait(self) -> tuple[Shard, Report | Exception]:
        """See :class:`Pool`."""
        shard, self._shard = self._shard, None
        try:
            return shard, self._labeller.label(shard)
        except Exception as error:
            return shard, error


def label_all(
    pool: Pool, shards: Iterable[Shard], done: Callable[[Report], None] = lambda report: None
) -> list[Failure]:
    """Have all shards labelled.

    Args:
        pool: Who does it.
        shards: Which.
        done: Called with what came of each.

    Returns:
        Shards that failed :data:`ATTEMPTS` times.

    Raises:
        OutputError: If results cannot be written.
    """
    waiting, running = deque(shards), 0
    attempts: Counter[int] = Counter()
    failures = []
    while waiting or running:
        while waiting and pool.free():
            pool.start(waiting.popleft())
            running += 1
        shard, outcome = pool.wait()
        running -= 1
        if isinstance(outcome, Report):
            done(outcome)
            continue
        if isinstance(outcome, OutputError):
            raise outcome
        attempts[shard.number] += 1
        if attempts[shard.number] < ATTEMPTS:
            waiting.append(shard)
        else:
            failures.append(Failure(shard, f'{type(outcome).__name__}: {" ".join(str(outcome).split())}'))
    return failures
