"""Commands of mmhier that follow one another: each is printed, run in a process of its own, and timed."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def run_step(arguments: Sequence[str]) -> float:
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


class Steps:
    """Runs commands.

    Attributes:
        seconds (dict[str, float]): What each has taken, by its name.
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run ``mmhier`` with these arguments.

        Raises:
            ValueError: If it fails; why, it has printed.
        """
        self.seconds[name] = run_step(arguments)

    def train_and_test(
        self,
        config: str,
        out: Path,
        prefix: str,
        options: Sequence[str],
        test_options: Sequence[str],
        show: Sequence[str] = (),
    ) -> Path:
        """Train a model, or go on with it, and evaluate it.

        Args:
            config: Of the model: its name or file.
            out: Where the folders ``train`` and ``test`` and the file ``metrics.json`` go.
            prefix: Of their names and of those of the steps.
            options: ``--cfg-options`` of both.
            test_options: More of those, of testing.
            show: Other options of testing.

        Returns:
            Its best checkpoint.

        Raises:
            FileNotFoundError: If no validation gave a score.
        """
        folder, metrics = out / f'{prefix}train', out / f'{prefix}metrics.json'
        options = ['--cfg-options', *options]
        self.run(f'{prefix}train', ['train', config, '--work-dir', str(folder), '--resume', *options])
        best = max(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime, default=None)
        if best is None:
            raise FileNotFoundError(
                f'{folder} has no best checkpoint: no validation gave a score (train_cfg.val_interval, '
                f'default_hooks.checkpoint.save_best). Delete {folder} to train again'
            )
        test = ['test', config, str(best), '--work-dir', str(out / f'{prefix}test'), '--out', str(metrics)]
        self.run(f'{prefix}test', [*test, *show, *options, *test_options])
        return best
