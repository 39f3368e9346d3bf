"""Workers of Ray: an actor per device, with the model in it. Needs ``pip install ray``.

The cluster is that of ``RAY_ADDRESS``, else one of this machine that is started here and ends with the run.
Its machines need mmhier, and have to see the inputs and the folder of the results under the same names.
"""

import contextlib
import os
from typing import TYPE_CHECKING, Any

from mmhier.labelling.plan import Shard
from mmhier.user_errors import USER_ERRORS

if TYPE_CHECKING:
    from mmhier.labelling.labeller import Job, Report

# Of the environment of this process, what workers have as well.
_OURS = 'MMHIER_'


class Worker:
    """What an actor does.

    Args:
        job: What all shards share.
        folder: Working directory, which paths of inputs start from.
        environment: Variables.
        threads: Of PyTorch.
    """

    def __init__(self, job: 'Job', folder: str, environment: dict[str, str], threads: int):
        with contextlib.suppress(OSError):  # another machine need not have it
            os.chdir(folder)
        os.environ.update(environment)
        import torch

        torch.set_num_threads(threads)
        self._job, self._labeller = job, None

    def load(self) -> Exception | None:
        """Load the model; return what an error of the user's prevents."""
        from mmhier.labelling.labeller import Labeller

        try:
            self._labeller = self._labeller or Labeller(self._job)
        except USER_ERRORS as error:
            return _plain(error)
        return None

    def label(self, shard: Shard) -> 'Report | Exception':
        """Label a shard; return what went wrong."""
        if (error := self.load()) is not None:
            return error
        try:
            return self._labeller.label(shard)
        except Exception as error:
            return _plain(error)


class RayPool:
    """A :class:`mmhier.labelling.scheduling.Pool` of actors; use it in a ``with`` statement.

    Args:
        job: What all shards share.
        workers: How many; by default one per GPU of the cluster, or per CPU where it has none, or the model
            is to run on CPUs.
        most: Shards there are; more workers are not started.

    Attributes:
        workers (int): How many there are.
        deaths (int): Workers that have died, and were replaced.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If the cluster has too little for the workers, or the model cannot be loaded.
        OSError: If something that the model needs is missing, or there is no cluster.
    """

    def __init__(self, job: 'Job', workers: int | None = None, most: int | None = None):
        self._ray = _ray()
        self._job = job
        self._connected = not self._ray.is_initialized()
        if self._connected:
            _connect(self._ray)
        try:
            resources = self._ray.cluster_resources()
            gpus, cpus = int(resources.get('GPU', 0)), int(resources.get('CPU', 1))
            on_gpu = gpus > 0 and job.model.get('device') != 'cpu'
            there = gpus if on_gpu else cpus
            if workers is not None and workers > there:
                raise ValueError(
                    f'--workers {workers}: the cluster has {there} {"GPU" if on_gpu else "CPU"}s, and a '
                    'worker takes at least one'
                )
            self.workers = max(1, min(workers or there, most or there))
            self.deaths = 0
            self._threads = max(1, cpus // (workers or there))
            self._actor = self._ray.remote(num_cpus=self._threads, num_gpus=int(on_gpu))(Worker)
            self._free = [self._new() for _ in range(self.workers)]
            self._running: dict[Any, tuple[Any, Shard]] = {}
            self._load()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> 'RayPool':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and the cluster if it was started for them."""
        if self._connected:
            self._ray.shutdown()

    def free(self) -> int:
        """See :class:`mmhier.labelling.scheduling.Pool`."""
        return len(self._free)

    def start(self, shard: Shard) -> None:
        """See :class:`mmhier.labelling.scheduling.Pool`."""
        worker = self._free.pop()
        self._running[worker.label.remote(shard)] = worker, shard

    def wait(self) -> 'tuple[Shard, Report | Exception]':
        """See :class:`mmhier.labelling.scheduling.Pool`; a worker that has died is replaced."""
        (ready,), _ = self._ray.wait([*self._running], num_returns=1)
        worker, shard = self._running.pop(ready)
        try:
            outcome = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            outcome = RuntimeError(f'the worker has died ({" ".join(str(error).split())[:300]})')
            self.deaths += 1
            self._ray.kill(worker)  # where it was only lost from sight
            worker = self._new()
        self._free.append(worker)
        return shard, outcome

    def _new(self) -> Any:
        environment = {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
        return self._actor.remote(self._job, os.getcwd(), environment, self._threads)

    def _load(self) -> None:
        """Load all models, so that what is wrong with the settings is said once, and before anything runs."""
        try:
            errors = self._ray.get([worker.load.remote() for worker in self._free])
        except self._ray.exceptions.RayError as error:
            raise ChildProcessError(
                f'a worker has died while it loaded the model; fewer (--workers) need less memory ({error})'
            ) from error
        for error in filter(None, errors):
            raise error


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError('--on ray needs: pip install ray') from error
    return ray


def _connect(ray: Any) -> None:
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level='WARNING')
    except Exception as error:  # of no class of its own where a cluster does not come up
        address = os.environ.get('RAY_ADDRESS')
        what = f'of RAY_ADDRESS={address} does not answer' if address else 'of this machine does not start'
        raise ConnectionError(f'the Ray cluster {what}: {error}') from error


def _plain(error: Exception) -> Exception:
    """An error that any process can take over: of a built-in class, else a text."""
    from mmhier.results.writer import OutputError

    if isinstance(error, OutputError) or type(error).__module__ == 'builtins':
        return error.with_traceback(None)
    kind = next((kind for kind in USER_ERRORS if isinstance(error, kind)), RuntimeError)
    return kind(f'{error}' if kind is not RuntimeError else f'{type(error).__name__}: {error}')
