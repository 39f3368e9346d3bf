"""The thread writes what it is given, in order, and says what went wrong."""

import threading

import numpy as np
import pytest

from mmhier.results.files import read_results
from mmhier.results.writer import OutputError, ResultWriter
from mmhier.results.writer_thread import WriterThread
from mmhier.testing.results import make_result


class Recorder:
    """A writer that notes what it gets, when it may."""

    def __init__(self, fails_at=None):
        self.written, self.closed, self.go_on = [], None, threading.Event()
        self.fails_at = fails_at

    def write(self, result):
        assert self.go_on.wait(10)
        if result.frame_index == self.fails_at:
            raise OutputError(28, 'no space')
        self.written.append(result.frame_index)

    def close(self, complete, skipped):
        self.closed = complete, list(skipped)


def test_files_are_those_of_the_writer_alone(tmp_path):
    results = [make_result(number) for number in range(9)]
    with ResultWriter(tmp_path / 'alone', ['json', 'npz']) as writer:
        for result in results:
            writer.write(result)
    thread = WriterThread(ResultWriter(tmp_path / 'beside', ['json', 'npz']))
    for result in results:
        thread.write(result)
    thread.close()
    for name in ('results.json', 'results.npz'):
        assert (tmp_path / 'alone' / name).read_bytes() == (tmp_path / 'beside' / name).read_bytes()
    assert len(list(read_results(tmp_path / 'beside' / 'results.json'))) == 9


def test_the_caller_waits_when_four_wait():
    recorder = Recorder()
    thread = WriterThread(recorder)
    handed = []

    def produce():
        for number in range(8):
            thread.write(make_result(number))
            handed.append(number)

    producer = threading.Thread(target=produce)
    producer.start()
    producer.join(0.3)
    assert producer.is_alive() and len(handed) == 4
    recorder.go_on.set()
    producer.join(10)
    thread.close(False, ['a skip'])
    assert recorder.written == list(range(8)) and recorder.closed == (False, ['a skip'])
    assert thread.waited > 0.2


def test_large_frames_wait_one_by_one(monkeypatch):
    monkeypatch.setattr('mmhier.results.writer_thread._MOST_BYTES', 1000)
    recorder = Recorder()
    thread = WriterThread(recorder)
    result = make_result(0)
    result.image = np.zeros((20, 20, 3), np.uint8)
    thread.write(result)
    blocked = threading.Thread(target=thread.write, args=(result,))
    blocked.start()
    blocked.join(0.2)
    assert blocked.is_alive()
    recorder.go_on.set()
    blocked.join(10)
    thread.close()
    assert recorder.written == [0, 0]


@pytest.mark.parametrize('last', [False, True])
def test_what_cannot_be_written_is_raised_and_ends_it(last):
    recorder = Recorder(fails_at=1)
    recorder.go_on.set()
    thread = WriterThread(recorder)
    with pytest.raises(OutputError, match='no space'):
        for number in range(2 if last else 100):
            thread.write(make_result(number))
        thread.close()
    if not last:
        with pytest.raises(OutputError):
            thread.close()
    assert recorder.written == [0] and recorder.closed == (False, [])
