"""What pre-training without labels gives: a model from random and from pre-trained weights, equal steps.

On synthetic people of simple scenes, the same for pre-training and for learning keypoints: a micro ViT as a
masked autoencoder, a micro Swin of three stages by masked image modelling. ``mmhier compare`` trains the pose
models. What has been made in the work directory is not made again.

    python tools/benchmark/pretraining.py --out docs/benchmarks/pretraining.csv
"""

import argparse
import csv
import statistics
import subprocess
import sys
from pathlib import Path

from rows import add_rows

from mmhier.tables import markdown
from mmhier.visualization.curves import read_scalars
from mmhier.zoo.names import resolve_config

# Encoder -> how it is pre-trained, and the pose model that it is of.
ENCODERS = dict(
    vit=('mae_vit_micro_synth', 'vitpose_micro_synth'),
    swin=('simmim_swin_micro_s3_synth', 'swinpose_micro_s3_synth'),
)
POSE = """
_base_ = '{base}'
model = dict(backbone=dict(init_cfg={init_cfg}))
"""
FIELDS = (
    'encoder', 'weights', 'seed', 'people', 'pretrain_epochs', 'first_loss', 'last_loss', 'epochs', 'batch',
    'AP',
)  # fmt: skip


def run(*words: object) -> None:
    """Run a command of mmhier in a process of its own.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    print('$ mmhier', *words, flush=True)
    subprocess.run([sys.executable, '-m', 'mmhier', *map(str, words)], check=True)


def pretrain(config: str, folder: Path, data: Path, epochs: int) -> tuple[Path, float, float]:
    """Pre-train, unless that has been done; return the checkpoint, and the losses of first and last steps."""
    checkpoint = folder / f'epoch_{epochs}.pth'
    if not checkpoint.is_file():
        options = {'data_root': f'{data}/', 'max_epochs': epochs, 'randomness.seed': 0}
        options |= {'default_hooks.logger.interval': 1, 'log_processor.window_size': 10}
        words = [f'{key}={value}' for key, value in options.items()]
        run('train', config, '--work-dir', folder, '--resume', '--cfg-options', *words)
    losses = [record['loss'] for record in read_scalars(folder) if 'loss' in record]
    return checkpoint, statistics.mean(losses[:10]), losses[-1]


def main() -> None:
    """Train all and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--encoders', nargs='+', choices=list(ENCODERS), default=list(ENCODERS))
    parser.add_argument('--people', type=int, default=500, help='to learn from')
    parser.add_argument('--held-out', type=int, default=200)
    parser.add_argument('--pretrain-epochs', type=int, default=40)
    parser.add_argument('--epochs', type=int, default=8, help='of the pose models')
    parser.add_argument('--batch', type=int, default=16, help='of the pose models')
    parser.add_argument('--seeds', type=int, default=3, help='how many, from 0 on')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/pretraining'))
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    work = args.work_dir.resolve()
    data = work / 'synth'
    if not data.is_dir():
        people = [f'--train={args.people}', f'--val={args.held_out}', '--seed=0', '--scenes=simple']
        run('synth', data, *people)
    known = {}
    for encoder in args.encoders:
        config, pose = ENCODERS[encoder]
        checkpoint, first, last = pretrain(config, work / encoder, data, args.pretrain_epochs)
        pretrained = dict(type='Pretrained', checkpoint=str(checkpoint))
        for weights, init_cfg in (('random', None), ('pretrained', pretrained)):
            path = work / f'{encoder}_{weights}.py'
            path.write_text(POSE.format(base=resolve_config(pose), init_cfg=init_cfg))
            loss = (f'{first:.3f}', f'{last:.3f}') if init_cfg else ('', '')
            known[path] = (encoder, weights, args.pretrain_epochs if init_cfg else 0, *loss)
    run(
        'compare', *known, '--epochs', args.epochs, '--seeds', *range(args.seeds), '--runs', 1,
        '--out', work / 'compare', '--cfg-options', f'data_root={data}/',
        f'train_dataloader.batch_size={args.batch}', 'param_scheduler.0.end=40',
    )  # fmt: skip
    with (work / 'compare' / 'scores.csv').open(newline='', encoding='utf-8') as file:
        scores = [(row['Config'], int(row['Seed']), row['coco/AP']) for row in csv.DictReader(file)]
    rows, table = [], []
    for path, (encoder, weights, epochs, *loss) in known.items():
        own = [(seed, score) for name, seed, score in scores if name == path.stem]
        rows += [
            (encoder, weights, seed, args.people, epochs, *loss, args.epochs, args.batch, score)
            for seed, score in own
        ]
        values = [float(score) for _, score in own]
        spread = f'{statistics.stdev(values):.3f}' if len(values) > 1 else ''
        table.append(
            (encoder, weights, ' to '.join(filter(None, loss)), f'{statistics.mean(values):.3f}', spread)
        )
    print(markdown(('encoder', 'weights', 'loss', 'AP, mean', 'AP, standard deviation'), table))
    if args.out:
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
