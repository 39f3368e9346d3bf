"""Starts scripts in processes that have imported libraries, and of mmhier no more than the package.

Importing torch and its like takes seconds; a process forked from this one has them at once. For mmhier,
MMPose and their registries it is as fresh as one that a shell starts: none of their modules is loaded here.

Not imported but run, by :class:`mmhier.testing.fresh_processes.FreshProcesses`: one request (JSON) per line
on standard input, one line of exit statuses on standard output.
"""

import json
import os
import runpy
import signal
import sys
import time
from typing import Any

import mmhier  # noqa: F401  (before MMCV and MMEngine, as every script of ours)

import cv2  # noqa: F401  isort: skip
import matplotlib.pyplot  # noqa: F401  isort: skip
import mmcv.cnn

import mmcv.transforms  # noqa: F401  isort: skip
import mmengine.config.config  # isort: skip
import mmengine.runner  # isort: skip
import scipy.io
import scipy.ndimage

import scipy.stats  # noqa: F401  isort: skip
import torch._dynamo

import torch  # noqa: F401  isort: skip

# The text of a config goes into the log as it is: to lay it out takes as long as the imports.
mmengine.config.config.FormatCode = lambda text, **options: (text, True)
ALLOWED = tuple(
    f'mmhier.{name}'
    for name in (
        'atomic', 'checkpoint_parts', 'compat', 'download', 'folder_lock', 'network', 'parts', 'safe_files',
        'safe_pickle', 'suggestions', 'version', 'zoo',
    )
)  # fmt: skip
POLL_S = 0.02


def serve() -> dict[str, Any] | None:
    """Answer requests; return in a child with its request, in the server when there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for rank in range(request['processes']):
            child = os.fork()
            if not child:
                return request | dict(rank=rank)
            children.append(child)
        print(json.dumps(wait(children, request['timeout'])), flush=True)
    return None


def wait(children: list[int], timeout: float) -> list[int]:
    """Exit statuses of processes, negative for a signal; those that take too long are killed."""
    end = time.monotonic() + timeout
    statuses: dict[int, int] = {}
    while len(statuses) < len(children):
        for child in children:
            if child not in statuses:
                found, status = os.waitpid(child, os.WNOHANG)
                if found:
                    statuses[child] = os.waitstatus_to_exitcode(status)
        failed = any(statuses.values())  # the others of a group would wait for it
        if time.monotonic() > end or (failed and len(statuses) < len(children)):
            for child in children:
                if child not in statuses:
                    os.killpg(child, signal.SIGKILL)
        time.sleep(POLL_S)
    return [statuses[child] for child in children]


def become(request: dict[str, Any]) -> None:
    """Give this process the folder, environment, arguments and output of the request."""
    os.setsid()
    os.chdir(request['cwd'])
    os.environ.clear()
    os.environ.update(request['env'])
    if request['processes'] > 1:
        rank = str(request['rank'])
        os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=str(request['processes']))
    output = os.open(f'{request["output"]}.{request["rank"]}', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(ours, standard)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = request['argv']
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))


loaded = [name for name in sys.modules if name.startswith(('mmpose', 'mmhier.'))]
assert all(name.startswith(ALLOWED) or name == 'mmhier.datasets' for name in loaded), loaded
if (asked := serve()) is not None:
    become(asked)
    runpy.run_path(asked['argv'][0], run_name='__main__')
