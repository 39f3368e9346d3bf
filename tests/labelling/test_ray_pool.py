"""Two workers of a Ray cluster of this machine, which die now and then."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from mmhier.labelling import ray_pool
from mmhier.labelling.labeller import Labeller
from mmhier.labelling.plan import cut, find_inputs
from mmhier.labelling.scheduling import label_all
from mmhier.results.files import read_results

ray = pytest.importorskip('ray')
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def _cluster():
    """That of RAY_ADDRESS, or one of two CPUs."""
    size = {} if os.environ.get('RAY_ADDRESS') else dict(num_cpus=2)
    ray.init(include_dashboard=False, log_to_driver=False, **size)
    yield
    ray.shutdown()


@pytest.fixture
def _dying(monkeypatch, tmp_path):
    """Workers that die on shard 1 before they begin, and on shard 3 when its files are there."""
    folder = str(tmp_path)

    class Dying(ray_pool.Worker):
        def label(self, shard):
            first_time = not Path(folder, f'died_{shard.number}').exists()
            if shard.number == 1 and first_time:
                self.die(shard)
            outcome = super().label(shard)
            if shard.number == 3 and first_time:
                self.die(shard)
            return outcome

        def die(self, shard):
            Path(folder, f'died_{shard.number}').touch()
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ray_pool, 'Worker', Dying)


@pytest.mark.usefixtures('_cluster', '_dying')
def test_killed_workers_lose_nothing_and_double_nothing(inputs, make_job, tmp_path):
    """And the files are those of a single process, byte by byte."""
    given, sources = inputs
    shards = cut(find_inputs(given, Counter()), 2)
    assert len(shards) == 6
    reports = []
    with ray_pool.RayPool(make_job('by_two'), 2, len(shards)) as pool:
        assert pool.workers == 2
        assert label_all(pool, shards, reports.append) == []
        assert pool.deaths == 2
    assert (tmp_path / 'died_1').exists() and (tmp_path / 'died_3').exists()
    assert sorted(report.number for report in reports) == [shard.number for shard in shards]
    alone = Labeller(make_job('alone'))
    expected = [alone.label(shard) for shard in shards]
    for shard, report in zip(shards, sorted(reports, key=lambda report: report.number)):
        name = f'{shard.stem}.json'
        assert (tmp_path / 'by_two' / name).read_bytes() == (tmp_path / 'alone' / name).read_bytes()
        assert (report.frames, report.people, report.skips) == (
            expected[shard.number].frames,
            expected[shard.number].people,
            expected[shard.number].skips,
        )
    files = sorted((tmp_path / 'by_two').iterdir())
    assert [path.name for path in files] == [f'{shard.stem}.json' for shard in shards]
    found = [result.source for path in files for result in read_results(path)]
    assert sorted(found) == sorted(sources)


@pytest.mark.usefixtures('_cluster')
def test_what_is_wrong_is_said_before_anything_runs(make_job, tmp_path):
    with pytest.raises(FileNotFoundError, match='none.pth'):
        ray_pool.RayPool(make_job(weights=str(tmp_path / 'none.pth')), 1)
    with pytest.raises(ValueError, match=r'--workers 9999: the cluster has \d+ CPUs'):
        ray_pool.RayPool(make_job(), 9999)
