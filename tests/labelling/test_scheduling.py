"""Nothing is lost and nothing is done twice, whoever dies."""

import errno
from collections import Counter

import pytest

from mmhier.labelling.labeller import Report
from mmhier.labelling.plan import Shard
from mmhier.labelling.scheduling import ATTEMPTS, label_all
from mmhier.results.writer import OutputError

SHARDS = [Shard(number, (f'{number}.jpg',)) for number in range(7)]


class Actors:
    """Workers that answer in another order, and as they are told to."""

    def __init__(self, size, answers):
        self.size, self.answers = size, answers
        self.running, self.started = [], Counter()

    def free(self):
        return self.size - len(self.running)

    def start(self, shard):
        assert self.free() and shard not in self.running
        self.running.append(shard)
        self.started[shard.number] += 1

    def wait(self):
        shard = self.running.pop(len(self.running) // 2)
        answers = self.answers.get(shard.number, [])
        return shard, answers.pop(0) if answers else Report(shard.number)


@pytest.mark.parametrize('size', [1, 2, 10])
def test_shards_of_dead_workers_are_given_to_others(size):
    died = RuntimeError('the worker has died')
    actors, done = Actors(size, {0: [died], 4: [died, died]}), []
    assert label_all(actors, SHARDS, done.append) == []
    assert sorted(report.number for report in done) == [shard.number for shard in SHARDS]
    assert actors.started == {0: 2, 1: 1, 2: 1, 3: 1, 4: 3, 5: 1, 6: 1}


def test_a_shard_that_always_fails_does_not_stop_the_others():
    actors, done = Actors(2, {3: [KeyError('a\nb')] * ATTEMPTS}), []
    (failure,) = label_all(actors, SHARDS, done.append)
    assert failure.shard == SHARDS[3] and failure.reason == "KeyError: 'a\\nb'"
    assert sorted(report.number for report in done) == [0, 1, 2, 4, 5, 6]
    assert actors.started[3] == ATTEMPTS


def test_a_full_disk_stops_all():
    actors = Actors(2, {1: [OutputError(errno.ENOSPC, 'No space left on device')]})
    with pytest.raises(OutputError, match='No space'):
        label_all(actors, SHARDS)
    assert sum(actors.started.values()) <= 3


def test_no_shards():
    assert label_all(Actors(1, {}), []) == []
