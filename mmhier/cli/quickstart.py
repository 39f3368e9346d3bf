"""The demonstration, then training and evaluation of a pose model and a mesh model on fresh synthetic people.

Training goes on from the small models that come with mmhier; with ``--from-scratch`` it starts from nothing,
and the mesh model's encoder as the pose model's. Every step is a command that a user could type; each is
printed before it runs. Running it again goes on where it was stopped: people that are there are kept, and
training resumes from its last checkpoint.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from mmhier.body_models.joint_sets import joint_set
from mmhier.cli.steps import run_step
from mmhier.cli.test import write_json
from mmhier.datasets.synthetic.generator import data_set_parameters, parameters_of
from mmhier.safe_files import read_json, read_npz
from mmhier.visualization.curves import plot_training, read_scalars
from mmhier.visualization.skeleton import contact_sheet, draw_skeleton

SCENES = 'simple'
SHEET_COLUMNS, SHEET_ROWS = 2, 7
CELL_HW = (208, 260)  # of each picture of a person
UPRIGHT_COLUMNS, UPRIGHT_ROWS = 3, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--from-scratch', action='store_true', help='random initial weights, more epochs, no demonstration'
    )
    parser.add_argument(
        '--config', metavar='FILE', help='pose model (default: configs/hpe/swinpose_micro_s3_*.py)'
    )
    parser.add_argument(
        '--mesh-config',
        metavar='FILE',
        help='mesh model with the same encoder (default: configs/hmr/swinhmr2_micro_s3_*.py)',
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
    args.config = args.config or f'configs/hpe/swinpose_micro_s3_{recipe}.py'
    args.mesh_config = args.mesh_config or f'configs/hmr/swinhmr2_micro_s3_{recipe}.py'
    for config in (args.config, args.mesh_config):
        if not Path(config).is_file():
            raise FileNotFoundError(f'{config} does not exist; run from the root of the repository')
    out = Path(args.out)
    data = out / 'data'
    wanted = data_set_parameters(args.train, args.val, args.seed, scenes=SCENES)
    if (found := parameters_of(data)) not in (None, wanted):
        changed = [name for name in wanted if wanted[name] != found.get(name)]
        has, asked = (
            ', '.join(f'{name} {values.get(name)}' for name in changed) for values in (found, wanted)
        )
        raise FileExistsError(
            f'{out} holds a quickstart with {has}, asked for {asked}: delete it, or choose another folder '
            'with --out'
        )
    people = [f'--train={args.train}', f'--val={args.val}', f'--seed={args.seed}', f'--scenes={SCENES}']
    seconds = {}
    if not args.from_scratch:
        seconds['demo'] = run_step(['demo', '--out', str(out / 'demo'), '--no-show'])
    seconds['people'] = run_step(['synth', str(data), *people])

    annotations = data / 'annotations' / 'person_keypoints_val.json'
    options = [f'data_root={data}/', *args.cfg_options]
    written = [f'test_evaluator.outfile_prefix={out}/predictions']
    checkpoint = _train_and_test(args.config, out, '', options, written, [], seconds)
    scalars = read_scalars(out / 'train')
    plot_training(scalars, out / 'loss_curve.png')

    panels = None
    if not args.no_mesh:
        options = [
            f'data_root={data}/',
            f'model.mocap.ann_file={data}/annotations/smpl_train.npz',
            *([f'model.backbone.init_cfg.checkpoint={checkpoint}'] if args.from_scratch else []),
            *args.cfg_options,
        ]
        written = [f'test_evaluator.outfile_prefix={out}/mesh_table']
        show = ['--show-dir', 'meshes', '--interval', str(args.val)]  # the first batch
        checkpoint = _train_and_test(args.mesh_config, out, 'mesh_', options, written, show, seconds)
        panels = max((out / 'mesh_test').glob('*/meshes'))
    sheet = draw_predictions(annotations, data / 'images' / 'val', out / 'predictions.keypoints.json', panels)
    cv2.imwrite(str(out / 'predictions.png'), sheet)
    if not args.no_mesh:
        cv2.imwrite(str(out / 'meshes.png'), draw_upright(args.mesh_config, checkpoint, data))
    _report(out, seconds, args, wanted)
    config = args.config if args.no_mesh else args.mesh_config
    print(
        f'next: mmhier infer {data}/images/val --boxes {annotations} --model {config} --weights {checkpoint}'
    )
    return 0


def _train_and_test(
    config: str,
    out: Path,
    prefix: str,
    options: list[str],
    test_options: list[str],
    show: list[str],
    seconds: dict[str, float],
) -> Path:
    """Train and evaluate a model in ``out``, note the seconds and return its best checkpoint."""
    folder, metrics = out / f'{prefix}train', out / f'{prefix}metrics.json'
    options = ['--cfg-options', *options]
    command = ['train', config, '--work-dir', str(folder), '--resume', *options]
    seconds[f'{prefix}train'] = run_step(command)
    best = max(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime, default=None)
    if best is None:
        raise FileNotFoundError(
            f'{folder} has no best checkpoint: no validation gave a score (train_cfg.val_interval, '
            f'default_hooks.checkpoint.save_best). Delete {folder} to train again'
        )
    command = ['test', config, str(best), '--work-dir', str(out / f'{prefix}test'), '--out', str(metrics)]
    seconds[f'{prefix}test'] = run_step([*command, *show, *options, *test_options])
    return best


def draw_predictions(
    annotation_file: Path, image_dir: Path, prediction_file: Path, panels: Path | None = None
) -> np.ndarray:
    """Draw what was predicted on the first images of a COCO-format set on a contact sheet (BGR).

    Args:
        annotation_file: The set.
        image_dir: Its images.
        prediction_file: Keypoints, in COCO's results format.
        panels: Pictures of meshes by :class:`mmhier.visualization.mesh_hook.MeshVisualizationHook`. Their
            overlay and side view are put beside the skeletons.
    """
    annotations = read_json(annotation_file)
    category = annotations['categories'][0]
    links = [(a - 1, b - 1) for a, b in category['skeleton']]
    predictions: dict[int, list[np.ndarray]] = {}
    for prediction in read_json(prediction_file):
        keypoints = np.reshape(prediction['keypoints'], (-1, 3))
        predictions.setdefault(prediction['image_id'], []).append(keypoints)
    columns = SHEET_COLUMNS if panels else 3 * SHEET_COLUMNS
    pictures = []
    for info in annotations['images'][: columns * SHEET_ROWS]:
        file = image_dir / Path(info['file_name']).name
        image = cv2.imread(str(file))
        size_wh = (CELL_HW[1], round(CELL_HW[1] * image.shape[0] / image.shape[1]))
        scale = size_wh[0] / image.shape[1]
        picture = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
        for keypoints in predictions.get(info['id'], []):
            picture = draw_skeleton(
                picture, keypoints[:, :2] * scale, keypoints[:, 2], category['keypoints'], links
            )
        if panels:
            meshes = cv2.imread(str(panels / f'{file.stem}.jpg'))[:, image.shape[1] :]
            meshes = cv2.resize(meshes, (2 * size_wh[0], size_wh[1]), interpolation=cv2.INTER_AREA)
            picture = np.concatenate([picture, meshes], axis=1)
        pictures.append(picture)
    width = pictures[0].shape[1]
    return contact_sheet(pictures, columns, (CELL_HW[0], width))


def draw_upright(config: str, checkpoint: Path, data: Path) -> np.ndarray:
    """Draw the predicted meshes of the held-out people who stand most upright before their camera.

    Who that is, the data say and not the model: of those who are in the image from head to foot, trunk and
    legs are nearest to the image's vertical, also towards the camera, as a view from the side shows it.

    Returns:
        A contact sheet, BGR: overlay and side view of each.
    """
    from mmhier.inference.inferencer import Inferencer

    annotation_file = data / 'annotations' / 'person_keypoints_val.json'
    truth = read_npz(annotation_file.with_name('smpl_val.npz'))
    names = {info['id']: info['file_name'] for info in read_json(annotation_file)['images']}
    joints, named = truth['joints3d'], joint_set('smpl24')
    neck, pelvis = joints[:, named.index('neck')], joints[:, named.index('pelvis')]
    ankles = joints[:, named.indices(['left_ankle', 'right_ankle'])].mean(axis=1)
    lines = np.stack([pelvis - neck, ankles - pelvis])
    upright = (lines[..., 1] / np.linalg.norm(lines, axis=-1)).min(axis=0)  # cosines; y points down
    whole = (truth['coco17_2d'][..., 2] > 0).all(axis=1)
    order = np.lexsort((-upright, ~whole))
    files = [data / 'images' / 'val' / Path(names[int(truth['image_id'][row])]).name for row in order]
    files = list(dict.fromkeys(files))[: UPRIGHT_COLUMNS * UPRIGHT_ROWS]
    results = Inferencer(config, checkpoint)(files, str(annotation_file))
    pictures = [np.concatenate([result.draw(), result.draw_side()], axis=1) for result in results]
    height, width = CELL_HW
    return contact_sheet(pictures, UPRIGHT_COLUMNS, (height, 2 * width))


def _report(out: Path, seconds: dict[str, float], args: argparse.Namespace, wanted: dict) -> None:
    """Print the scores; write them, with the seconds and what the people were made with, to one file."""
    spent = ', '.join(f'{name.replace("_", " ")} {duration:.0f} s' for name, duration in seconds.items())
    pose = read_json(out / 'metrics.json')
    lines = [
        f'on the people of {args.val} held-out synthetic images',
        f'pose: AP {pose["coco/AP"]:.3f}   AR {pose["coco/AR"]:.3f}   Phi {pose["coco/Phi"]:.3f}',
    ]
    summary = dict(people=wanted, seconds={name: round(value) for name, value in seconds.items()}, pose=pose)
    files = [
        f'{out}/predictions.png   what was predicted',
        f'{out}/loss_curve.png    loss and AP over training',
        f'{out}/metrics.json      all scores of the pose model',
    ]
    if not args.no_mesh:
        mesh = summary['mesh'] = read_json(out / 'mesh_metrics.json')
        errors = (
            f'{name} {mesh[f"mesh/{name}"]:.1f} mm (mean pose: {mesh[f"mesh/{name} of the mean pose"]:.1f})'
            for name in ('MPJPE', 'PA-MPJPE')
        )
        lines.append(f'mesh: {"   ".join(errors)}   PCK@0.05 {mesh["mesh/PCK@0.05"]:.3f}')
        files.append(f'{out}/meshes.png        meshes of people who stand upright')
        files.append(f'{out}/mesh_table.md     scores of the mesh model, each with its protocol')
    write_json(summary, str(out / 'quickstart.json'))
    files.append(f'{out}/quickstart.json    all of this in one file')
    print('\n' + '\n'.join([*lines, f'time: {spent}', *files]), flush=True)
