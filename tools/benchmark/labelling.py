"""How much faster two workers of ``mmhier infer --on ray`` label than one.

    python tools/benchmark/labelling.py --model swinpose_t_s3 --pictures 64

Workers have a core and a thread each. Runs with one and with both take turns, on pictures of noise that are
one person each. Printed are the pictures per second of the median run, their ratio, and the CPU time per
picture: where that is the same, workers do not hinder each other, whatever else the machine does meanwhile.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mmhier.labelling import ray_pool
from mmhier.labelling.labeller import Job
from mmhier.labelling.plan import cut
from mmhier.labelling.preparation import fetch_weights
from mmhier.labelling.scheduling import label_all


class Pinned(ray_pool.Worker):
    """A worker on a core of its own, whose reports have the CPU time for their seconds."""

    def load(self):
        """Take the first core that no other worker has taken."""
        error = super().load()
        if error is None and len(os.sched_getaffinity(0)) > 1:
            for core in sorted(os.sched_getaffinity(0)):
                try:
                    Path(self._job.folder, f'core_{core}').touch(exist_ok=False)
                except FileExistsError:
                    continue
                for thread in os.listdir('/proc/self/task'):
                    os.sched_setaffinity(int(thread), {core})
                break
        return error

    def label(self, shard):
        """As above."""
        start = time.process_time()
        report = super().label(shard)
        return replace(report, seconds=time.process_time() - start)


class Some:
    """A pool of which so many workers are used."""

    def __init__(self, pool, most):
        self._pool, self._most, self._running = pool, most, 0

    def free(self):
        """See :class:`mmhier.labelling.scheduling.Pool`."""
        return min(self._pool.free(), self._most - self._running)

    def start(self, shard):
        """See :class:`mmhier.labelling.scheduling.Pool`."""
        self._running += 1
        self._pool.start(shard)

    def wait(self):
        """See :class:`mmhier.labelling.scheduling.Pool`."""
        self._running -= 1
        return self._pool.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='swinpose_micro_s3_synth')
    parser.add_argument('--weights', default='swinpose-micro')
    parser.add_argument('--pictures', type=int, default=64, metavar='N')
    parser.add_argument('--shard-size', type=int, default=4, metavar='N')
    parser.add_argument('--runs', type=int, default=5, metavar='N', help='of each kind')
    args = parser.parse_args()
    ray_pool.Worker = Pinned
    with tempfile.TemporaryDirectory() as made:
        names, rng = [], np.random.default_rng(0)
        for number in range(args.pictures):
            small = rng.integers(0, 256, (48, 64, 3), np.uint8)
            names.append(f'{made}/{number:04d}.jpg')
            cv2.imwrite(names[-1], cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC))
        weights = fetch_weights(args.model, args.weights, 'eager')
        model = dict(model=args.model, weights=weights, device='cpu', detector='whole_image')
        shards = cut(names, args.shard_size)
        with ray_pool.RayPool(Job(model, None, made, ('json',), 10**8), 2) as pool:
            label_all(pool, shards[:4])  # untimed
            walls, cpus = {1: [], 2: []}, {1: [], 2: []}
            for _ in range(args.runs):
                for workers in (1, 2):
                    reports, start = [], time.perf_counter()
                    assert label_all(Some(pool, workers), shards, reports.append) == []
                    walls[workers].append(time.perf_counter() - start)
                    cpus[workers].append(sum(report.seconds for report in reports))
    one, two = (args.pictures / statistics.median(walls[workers]) for workers in (1, 2))
    cpu = {workers: 1e3 * statistics.median(cpus[workers]) / args.pictures for workers in (1, 2)}
    print(f'{one:.1f} pictures per second with one worker, {two:.1f} with two: {two / one:.2f}x')
    print(f'CPU time per picture: {cpu[1]:.1f} ms with one, {cpu[2]:.1f} ms with two')
    print('ratios of the pairs:', *(f'{a / b:.2f}' for a, b in zip(walls[1], walls[2])))


if __name__ == '__main__':
    sys.exit(main())
