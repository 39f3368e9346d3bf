"""From nothing to a trained pose model: synthetic people, training, evaluation and pictures.

Every step is a command that a user could type; each is printed before it runs. Running it again goes on
where it was stopped: people that are there are kept, and training resumes from its last checkpoint.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from mmhier.visualization.curves import plot_training, read_scalars
from mmhier.visualization.skeleton import contact_sheet, draw_skeleton

SHEET_COLUMNS, SHEET_ROWS, SHEET_CELL_HW = 6, 4, (208, 260)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--config', default='configs/hpe/swinpose_micro_s3_synth.py', help='default: %(default)s'
    )
    parser.add_argument('--out', default='work_dirs/quickstart', help='default: %(default)s')
    parser.add_argument('--train', type=int, default=4000, help='training images (default: %(default)s)')
    parser.add_argument('--val', type=int, default=300, help='held-out images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='passed on to training and testing')


def run(args: argparse.Namespace) -> int:
    """Run all steps; the results lie in ``args.out``."""
    if not Path(args.config).is_file():
        raise FileNotFoundError(f'{args.config} does not exist; run from the root of the repository')
    out = Path(args.out)
    data, train_dir = out / 'data', out / 'train'
    seconds = {}
    people = [f'--train={args.train}', f'--val={args.val}', f'--seed={args.seed}', '--scenes=simple']
    options = ['--cfg-options', f'data_root={data}/', *_rooted(data), *args.cfg_options]
    seconds['people'] = _step(['synth', str(data), *people])
    seconds['train'] = _step(['train', args.config, '--work-dir', str(train_dir), '--resume', *options])
    best = max(train_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    test_options = [*options, f'test_evaluator.outfile_prefix={out}/predictions']
    metrics_file = out / 'metrics.json'
    command = ['test', args.config, str(best), '--work-dir', str(out / 'test'), '--out', str(metrics_file)]
    seconds['test'] = _step([*command, *test_options])

    plot_training(read_scalars(train_dir), out / 'loss_curve.png')
    annotations = data / 'annotations' / 'person_keypoints_val.json'
    sheet = draw_predictions(annotations, data / 'images' / 'val', out / 'predictions.keypoints.json')
    cv2.imwrite(str(out / 'predictions.png'), sheet)
    _report(out, json.loads(metrics_file.read_text()), seconds, args.val)
    return 0


def draw_predictions(annotation_file: Path, image_dir: Path, prediction_file: Path) -> np.ndarray:
    """Draw the skeletons predicted on the first images of a COCO-format set on a contact sheet (BGR)."""
    annotations = json.loads(annotation_file.read_text())
    category = annotations['categories'][0]
    links = [(a - 1, b - 1) for a, b in category['skeleton']]
    predictions: dict[int, list[np.ndarray]] = {}
    for prediction in json.loads(prediction_file.read_text()):
        keypoints = np.reshape(prediction['keypoints'], (-1, 3))
        predictions.setdefault(prediction['image_id'], []).append(keypoints)
    images = []
    for info in annotations['images'][: SHEET_COLUMNS * SHEET_ROWS]:
        image = cv2.imread(str(image_dir / Path(info['file_name']).name))
        scale = min(side / length for side, length in zip(SHEET_CELL_HW, image.shape[:2]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        for keypoints in predictions.get(info['id'], []):
            image = draw_skeleton(
                image, keypoints[:, :2] * scale, keypoints[:, 2], category['keypoints'], links
            )
        images.append(image)
    return contact_sheet(images, SHEET_COLUMNS, SHEET_CELL_HW)


def _rooted(data: Path) -> list[str]:
    """Point every place of a synthetic config that holds the data root to ``data``."""
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    annotations = f'{data}/annotations/person_keypoints_val.json'
    return [
        *(f'{loader}.dataset.data_root={data}/' for loader in loaders),
        *(f'{evaluator}.ann_file={annotations}' for evaluator in ('val_evaluator', 'test_evaluator')),
    ]


def _step(arguments: list[str]) -> float:
    """Run one ``mmhier`` command in a process of its own and return its seconds."""
    print(f'\n$ mmhier {" ".join(arguments)}', flush=True)
    start = time.monotonic()
    # One core is left to the data loader: more threads than cores wait for each other most of the time.
    threads = dict(OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) - 1)), OMP_WAIT_POLICY='PASSIVE')
    subprocess.run([sys.executable, '-m', 'mmhier', *arguments], check=True, env={**threads, **os.environ})
    return time.monotonic() - start


def _report(out: Path, metrics: dict, seconds: dict[str, float], images: int) -> None:
    spent = ', '.join(f'{name} {duration:.0f} s' for name, duration in seconds.items())
    lines = [
        f'AP {metrics["coco/AP"]:.3f}   AR {metrics["coco/AR"]:.3f}   Phi {metrics["coco/Phi"]:.3f}   '
        f'on the people of {images} held-out synthetic images',
        f'time: {spent}',
        f'{out}/predictions.png   predicted skeletons',
        f'{out}/loss_curve.png    loss and AP over training',
        f'{out}/metrics.json      all scores',
    ]
    print('\n' + '\n'.join(lines), flush=True)
