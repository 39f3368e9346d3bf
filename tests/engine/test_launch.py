"""Every way out of a distributed run ends the process: models first, then their process group."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmhier.engine import launch

# How a pair of processes ends -> their exit statuses. 'fault': the first raises while the second waits for it
# in a collective; 'pending': the first raises after starting a collective that the second never joins.
ENDS = dict(finish=[0, 0], exception=[1, 1], interrupt=[130, 130], fault=[1, 1], pending=[1, -9])
PATIENCE = 300  # seconds: a process that hangs, hangs for ever


class Wrapped:
    """A wrapped model after two steps; in a cycle, as a runner is."""

    def __init__(self):
        self.self = self
        self.model = DistributedDataParallel(nn.Linear(2, 1))
        for _ in range(2):
            self.model(torch.ones(1, 2)).sum().backward()
        self.parts = [weakref.ref(part) for part in (self.model.reducer, self.model.logger)]


def test_models_let_go_of_the_group_first(tmp_path, monkeypatch):
    dist.init_process_group('gloo', f'file://{tmp_path}/store', rank=0, world_size=1)
    held, parts = Wrapped(), Wrapped().parts
    destroy, alive = dist.destroy_process_group, []
    monkeypatch.setattr(
        dist,
        'destroy_process_group',
        lambda: (alive.extend(part() for part in held.parts + parts), destroy()),
    )
    launch.finish_distributed()
    assert alive == [None] * 4
    assert held.model.process_group is None
    assert not dist.is_initialized()
    launch.finish_distributed()  # without a group there is nothing to do
    assert len(alive) == 4


def test_a_restart_over_several_machines_names_its_remedy(monkeypatch):
    variables = dict(
        TORCHELASTIC_RESTART_COUNT='1', TORCHELASTIC_USE_AGENT_STORE='True', GROUP_WORLD_SIZE='2'
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match='TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1'):
        launch.prepare_distributed(Config(dict(launcher='pytorch')))


def test_a_restart_does_not_read_what_the_dead_have_written(monkeypatch):
    kept = dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)  # torchrun's
    kept.set('key', 'of a dead process')
    variables = dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1', MASTER_PORT=kept.port)
    variables |= dict(TORCHELASTIC_RESTART_COUNT=2, TORCHELASTIC_USE_AGENT_STORE=True)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    stores = []
    monkeypatch.setattr(
        dist, 'init_process_group', lambda backend, store, rank, world_size: stores.append(store)
    )
    monkeypatch.setattr(dist, 'is_initialized', lambda: bool(stores))
    launch.prepare_distributed(Config(dict(launcher='pytorch')))
    (store,) = stores
    assert not store.check(['key'])
    store.set('key', 'of this attempt')
    assert kept.get('attempt_2/key') == b'of this attempt'


def test_every_way_out_ends_the_processes(tmp_path):
    for end, pairs in launched(tmp_path, dict(finish=1, fault=1, pending=1)).items():
        check(pairs, end)


@pytest.mark.slow
def test_fifty_launches(tmp_path):
    for end, pairs in launched(tmp_path, dict(finish=50, fault=20, exception=10, interrupt=10)).items():
        check(pairs, end)


def launched(folder, counts):
    """End -> pairs of processes, each with its exit status, what it noted and what it wrote to stderr."""
    command = [sys.executable, __file__, json.dumps(counts), str(folder)]
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert result.returncode == 0
    pairs = json.loads(result.stdout)
    assert {end: len(of_end) for end, of_end in pairs.items()} == counts
    return pairs


def check(pairs, end):
    for pair in pairs:
        assert [process['status'] for process in pair] == ENDS[end], pair
        took_down = [process for process in pair if process['status'] != -9]
        for process in took_down:  # models were gone when the group was taken down, messages printed
            assert process['alive'] == 0
            if ENDS[end][0] == 1:
                assert 'Error: ' in process['stderr']
        if end == 'finish':  # nobody leaves before all have come
            destroyed, asked = ([process[name] for process in pair] for name in ('destroyed', 'asked'))
            assert min(destroyed) > max(asked)


# ----------------------------------------------------------------------------------------- in another process


def launch_pairs(counts, folder):
    """Fork pairs of processes from this one, which has loaded everything, and print how they ended."""
    ended = {end: [] for end in counts}
    for end in (end for end, count in counts.items() for _ in range(count)):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = str(probe.getsockname()[1])
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE='2')
        paths = [f'{folder}/{end}_{len(ended[end])}_{rank}' for rank in range(2)]
        processes = []
        for rank, path in enumerate(paths):
            if not (process := os.fork()):
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
                os.dup2(os.open(f'{path}.txt', os.O_WRONLY | os.O_CREAT), 2)
                return run(end, rank, f'{path}.json')  # and to the end of the interpreter
            processes.append(process)
        statuses = [wait(processes[0])]
        if end == 'pending':
            os.kill(processes[1], signal.SIGKILL)
        statuses.append(wait(processes[1]))
        pair = [
            dict(status=status, stderr=Path(f'{path}.txt').read_text())
            for status, path in zip(statuses, paths)
        ]
        for process, path in zip(pair, paths):
            if Path(f'{path}.json').exists():
                process |= json.loads(Path(f'{path}.json').read_text())
        ended[end].append(pair)
    print(json.dumps(ended))


def wait(process):
    """Exit status of a child; 'hangs' if it does not end."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return 'hangs'


def run(end, rank, path):
    """What a command does with a process group, and how it is left."""
    note = {}
    destroy = dist.destroy_process_group

    def noted():
        note['alive'] = sum(part() is not None for part in held.parts)
        note['destroyed'] = time.monotonic()
        with open(path, 'w') as file:
            json.dump(note, file)
        destroy()

    dist.destroy_process_group = noted
    launch.prepare_distributed(Config(dict(launcher='pytorch')))
    held = Wrapped()
    if end == 'finish':
        time.sleep(rank)
        note['asked'] = time.monotonic()
        return launch.finish_distributed()
    if end == 'interrupt':
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(130)  # as the command line does
    if rank and end == 'pending':
        time.sleep(PATIENCE)
    if rank and end == 'fault':
        held.model(torch.ones(1, 2)).sum().backward()
    if end == 'pending':
        launch.TEARDOWN_SECONDS = 2
        work = dist.all_reduce(torch.ones(1), async_op=True)  # noqa: F841
    raise RuntimeError('a fault of this run')


if __name__ == '__main__':
    import torch._dynamo  # which DistributedDataParallel does: once for all processes

    launch_pairs(json.loads(sys.argv[1]), sys.argv[2])
