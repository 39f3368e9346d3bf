"""Run scripts as a shell does, each in a process of its own, without importing torch again every time."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmhier.network import free_port

SERVER = Path(__file__).with_name('fork_server.py')


class Finished(NamedTuple):
    """A script that has ended.

    Attributes:
        returncode: Exit status; of several processes the first that is not 0. Negative: the signal.
        output: What it wrote, standard output and error together; of several processes one after the other.
    """

    returncode: int
    output: str


class FreshProcesses:
    """Runs Python scripts; see :mod:`mmhier.testing.fork_server` for what their processes have loaded.

    Args:
        cwd: Folder they run in.
        environment: Variables beside those of this process.
    """

    def __init__(self, cwd: Path, environment: Mapping[str, str] | None = None):
        self.cwd = cwd
        self.environment = {**os.environ, **(environment or {})}
        self.server = subprocess.Popen(
            [sys.executable, '-W', 'ignore', str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
            text=True,
        )

    def elsewhere(self, cwd: Path, environment: Mapping[str, str]) -> 'FreshProcesses':
        """The same server for another folder, with other variables beside those of this process."""
        other = copy.copy(self)
        other.cwd, other.environment = cwd, {**os.environ, **environment}
        return other

    def __enter__(self) -> 'FreshProcesses':
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def run(
        self, script: str, *arguments: Any, processes: int = 1, check: bool = True, timeout: float = 300
    ) -> Finished:
        """Run ``python SCRIPT ARGUMENTS``.

        Args:
            script: Relative to the folder.
            arguments: Turned into text.
            processes: More than one: with the variables that torchrun sets.
            check: Whether a failure is an error.
            timeout: Seconds until it is killed.

        Raises:
            RuntimeError: If it fails; with the end of its output.
        """
        output = self.cwd / '.output'
        request = dict(
            argv=[script, *map(str, arguments)],
            cwd=str(self.cwd),
            env=self.environment | _meeting_point(processes),
            output=str(output),
            processes=processes,
            timeout=timeout,
        )
        self.server.stdin.write(json.dumps(request) + '\n')
        self.server.stdin.flush()
        statuses = json.loads(self.server.stdout.readline())
        texts = [Path(f'{output}.{rank}').read_text(errors='replace') for rank in range(processes)]
        finished = Finished(next((status for status in statuses if status), 0), '\n'.join(texts))
        if check and finished.returncode:
            command = ' '.join(request['argv'])
            end = '\n'.join(text[-3000:] for text in texts)
            raise RuntimeError(f'{command}: exit status {statuses}\n{end}')
        return finished


def _meeting_point(processes: int) -> dict[str, str]:
    """Address and free port at which the processes of a group meet."""
    return {} if processes == 1 else dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
