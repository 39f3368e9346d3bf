"""Timing and memory."""

import pytest
import torch

from mmhier.cost.latency import Timing, peak_memory, time_in_turns


def test_median_and_p95_by_hand():
    timing = Timing.of([float(value) for value in range(100, -1, -1)])
    assert timing == Timing(50.0, 95.0)
    assert Timing.of([2.0]) == Timing(2.0, 2.0)


def test_calls_take_turns_and_warm_up_is_not_timed():
    order = []
    timings = time_in_turns([lambda: order.append('a'), lambda: order.append('b')], runs=3)
    assert order == ['a', 'b'] * 5
    assert len(timings) == 2 and all(0 <= timing.median <= timing.p95 for timing in timings)


def test_peak_memory_sees_what_a_call_needs_for_a_moment():
    size = 100_000_000

    def call():
        torch.zeros(size // 4).add_(1)

    used = peak_memory(call)
    if used is None:
        pytest.skip('this system does not tell the peak of a process')
    assert 0.9 * size < used < 1.5 * size
    assert peak_memory(lambda: None) < 0.1 * size
