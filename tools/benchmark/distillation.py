"""What a student gains from a teacher: the same one with and without, equal steps, several seeds.

On synthetic people of simple scenes. The teacher is swinpose_micro_s3_synth, trained for longer on the same
people; the student is made of its first two stages, from random weights. What has been made in the work
directory is not made again.

    python tools/benchmark/distillation.py --out docs/benchmarks/distillation.csv
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from rows import add_rows

from mmhier.tables import markdown
from mmhier.visualization.curves import read_scalars
from mmhier.zoo.names import resolve_config

TEACHER = 'swinpose_micro_s3_synth'
STUDENT = f"""
_base_ = '{resolve_config(TEACHER)}'
model = dict(backbone=dict(num_stages=2), neck=dict(in_channels=64, in_stride=8))
"""
DISTILLED = """
_base_ = './alone.py'
model = dict(type='DistilledPoseEstimator', teacher=dict(config='{config}', checkpoint='{checkpoint}'))
"""
FIELDS = ('model', 'seed', 'people', 'epochs', 'batch', 'AP', 'AR')


def run(*words: object) -> None:
    """Run a command of mmhier in a process of its own.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    print('$ mmhier', *words, flush=True)
    subprocess.run([sys.executable, '-m', 'mmhier', *map(str, words)], check=True)


def train(
    config: str | Path, folder: Path, data: Path, seed: int, epochs: int, batch: int
) -> dict[str, float]:
    """Train, unless that has been done, and return the scores of the last epoch."""
    if not (folder / f'epoch_{epochs}.pth').is_file():
        options = {
            'data_root': f'{data}/',
            'max_epochs': epochs,
            'train_cfg.val_interval': epochs,
            'randomness.seed': seed,
            'train_dataloader.batch_size': batch,
        }
        words = [f'{key}={value}' for key, value in options.items()]
        run('train', config, '--work-dir', folder, '--cfg-options', *words)
    return next(record for record in reversed(read_scalars(folder)) if 'coco/AP' in record)


def main() -> None:
    """Train all and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--people', type=int, default=1000, help='to learn from')
    parser.add_argument('--held-out', type=int, default=300)
    parser.add_argument('--teacher-epochs', type=int, default=16)
    parser.add_argument('--epochs', type=int, default=6, help='of the student')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--seeds', type=int, default=3, help='how many, from 0 on')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/distillation'))
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    work = args.work_dir.resolve()
    data = work / 'synth'
    if not data.is_dir():
        people = [f'--train={args.people}', f'--val={args.held_out}', '--seed=0', '--scenes=simple']
        run('synth', data, *people)
    rows = []

    def note(name: str, seed: int, epochs: int, scores: dict[str, float]) -> None:
        figures = [f'{scores[key]:.3f}' for key in ('coco/AP', 'coco/AR')]
        rows.append((name, seed, args.people, epochs, args.batch, *figures))

    found = train(TEACHER, work / 'teacher', data, 0, args.teacher_epochs, args.batch)
    note('teacher', 0, args.teacher_epochs, found)
    checkpoint = work / 'teacher' / f'epoch_{args.teacher_epochs}.pth'
    (work / 'alone.py').write_text(STUDENT)
    (work / 'distilled.py').write_text(DISTILLED.format(config=TEACHER, checkpoint=checkpoint))
    for seed in range(args.seeds):
        for name in ('alone', 'distilled'):
            found = train(work / f'{name}.py', work / f'{name}_{seed}', data, seed, args.epochs, args.batch)
            note(name, seed, args.epochs, found)
    table = []
    for name in dict.fromkeys(row[0] for row in rows):
        scores = [float(row[5]) for row in rows if row[0] == name]
        spread = f'{statistics.stdev(scores):.3f}' if len(scores) > 1 else ''
        table.append((name, str(len(scores)), f'{statistics.mean(scores):.3f}', spread))
    print(markdown(('model', 'seeds', 'AP, mean', 'AP, standard deviation'), table))
    if args.out:
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
