"""A fresh interpreter, for what can only be seen at the first import."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fresh_python() -> Callable[..., str]:
    """Run code in a new process, with folders before everything else on its path; return what it prints."""

    def run(code: str, *path: Path) -> str:
        setup = f'import sys; sys.path[:0] = {[str(folder) for folder in (*path, ROOT)]!r}\n'
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', setup + textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run
