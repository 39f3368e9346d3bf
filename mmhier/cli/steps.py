"""Commands of mmhier that another one runs, each in a process of its own, as a user would type them."""

import os
import subprocess
import sys
import time


def run_step(arguments: list[str]) -> float:
    """Print and run one ``mmhier`` command; return its seconds.

    Raises:
        ValueError: If it fails; why, it has printed.
    """
    print(f'\n$ mmhier {" ".join(arguments)}', flush=True)
    start = time.monotonic()
    # One core is left to the data loader: more threads than cores wait for each other most of the time.
    threads = dict(OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) - 1)), OMP_WAIT_POLICY='PASSIVE')
    done = subprocess.run([sys.executable, '-m', 'mmhier', *arguments], env={**threads, **os.environ})
    if done.returncode:
        raise ValueError(
            f'mmhier {" ".join(arguments[:2])} ended with status {done.returncode}, see what it says above'
        )
    return time.monotonic() - start
