"""The demonstration, then training and evaluation of a pose model and a mesh model on fresh synthetic people.

Training goes on from the small models that come with mmhier; with ``--from-scratch`` it starts from nothing,
and the mesh model's encoder as the pose model's. Every step is a command that a user could type; each is
printed before it runs. Running it again goes on where it was stopped: people that are there are kept, and
training resumes from its last checkpoint.
"""

import argparse
from pathlib import Path

import cv2

from mmhier.cli.quickstart_report import report
from mmhier.cli.steps import Steps
from mmhier.datasets.synthetic.generator import data_set_parameters, differences
from mmhier.datasets.synthetic.upright import upright_images
from mmhier.visualization.curves import plot_training, read_scalars
from mmhier.visualization.sheets import draw_predictions, pair_sheet
from mmhier.zoo.names import resolve_config

SCENES = 'simple'
NUM_UPRIGHT = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--from-scratch', action='store_true', help='random initial weights, more epochs, no demonstration'
    )
    parser.add_argument(
        '--config', metavar='NAME', help='pose model, or its file (default: swinpose_micro_s3_*)'
    )
    parser.add_argument(
        '--mesh-config',
        metavar='NAME',
        help='mesh model with the same encoder (default: swinhmr2_micro_s3_*)',
    )
    parser.add_argument('--no-mesh', action='store_true', help='stop after the pose model')
    parser.add_argument('--out', default='work_dirs/quickstart', help='default: %(default)s')
    parser.add_argument('--train', type=int, default=4000, help='training images (default: %(default)s)')
    parser.add_argument('--val', type=int, default=300, help='held-out images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='passed on to training and testing of both models'
    )


def run(args: argparse.Namespace) -> int:
    """Run all steps; the results lie in ``args.out``."""
    recipe = 'synth' if args.from_scratch else 'finetune'
    config = args.config or f'swinpose_micro_s3_{recipe}'
    mesh_config = args.mesh_config or f'swinhmr2_micro_s3_{recipe}'
    for name in (config, mesh_config):
        resolve_config(name)
    out = Path(args.out)
    data = out / 'data'
    people = data_set_parameters(args.train, args.val, args.seed, scenes=SCENES)
    if changed := differences(data, people):
        raise FileExistsError(
            f'{out} holds a quickstart with {changed[0]}, asked for {changed[1]}: delete it, or choose '
            'another folder with --out'
        )
    steps = Steps()
    if not args.from_scratch:
        steps.run('demo', ['demo', '--out', str(out / 'demo'), '--no-show'])
    asked = [f'--train={args.train}', f'--val={args.val}', f'--seed={args.seed}', f'--scenes={SCENES}']
    steps.run('people', ['synth', str(data), *asked])

    annotations, images = data / 'annotations' / 'person_keypoints_val.json', data / 'images' / 'val'
    options = [f'data_root={data}/']
    written = [f'test_evaluator.outfile_prefix={out}/predictions']
    checkpoint = steps.train_and_test(config, out, '', [*options, *args.cfg_options], written)
    plot_training(read_scalars(out / 'train'), out / 'loss_curve.png')

    panels = None
    if not args.no_mesh:
        if args.from_scratch:
            options.append(f'model.backbone.init_cfg.checkpoint={checkpoint}')
        written = [f'test_evaluator.outfile_prefix={out}/mesh_table']
        show = ['--show-dir', 'meshes', '--interval', str(args.val)]  # the first batch
        config = mesh_config
        checkpoint = steps.train_and_test(config, out, 'mesh_', [*options, *args.cfg_options], written, show)
        panels = max((out / 'mesh_test').glob('*/meshes'))
    sheet = draw_predictions(annotations, images, out / 'predictions.keypoints.json', panels)
    cv2.imwrite(str(out / 'predictions.png'), sheet)
    if not args.no_mesh:
        from mmhier.inference.inferencer import Inferencer

        files = [images / name for name in upright_images(annotations)[:NUM_UPRIGHT]]
        results = Inferencer(config, checkpoint)(files, str(annotations))
        sheet = pair_sheet((result.draw(), result.draw_side()) for result in results)
        cv2.imwrite(str(out / 'meshes.png'), sheet)
    report(out, steps.seconds, people, mesh=not args.no_mesh)
    print(f'next: mmhier infer {images} --boxes {annotations} --model {config} --weights {checkpoint}')
    return 0
