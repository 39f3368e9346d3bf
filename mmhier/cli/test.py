"""``tools/test.py`` and ``mmhier test``: evaluate a checkpoint; options as in MMPose's script."""

import argparse
import json
import os.path as osp
import sys

from mmhier.atomic import new_file
from mmhier.cli.train import add_shared_arguments, load_config, start

# Evaluators that write a table, and its name in the work directory.
TABLES = dict(
    ManyDatasetsMetric='pose_table',
    MeshMetric='mesh_table',
    SmplBodyMetric='smpl_body_table',
    WholeBodyMetric='whole_body_table',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from mmengine.config import DictAction

    parser.add_argument('config', help='config file or name, see mmhier models')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        default='auto',
        help='file, address, or name of released weights (default: auto, as for mmhier infer)',
    )
    parser.add_argument('--work-dir', help='where the log goes (default: work_dirs/<config>)')
    parser.add_argument('--out', help='write the metrics to this JSON file')
    parser.add_argument(
        '--dump', help='write the raw predictions to this .pkl file (read it only if you wrote it)'
    )
    add_shared_arguments(parser, DictAction)


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    from mmhier.engine.launch import finish_distributed
    from mmhier.engine.trial import check_one_prediction

    cfg = load_config(args)
    cfg.load_from = _weights(args)
    evaluators = cfg.get('test_evaluator') or []
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    for evaluator in evaluators:
        if table := TABLES.get(evaluator['type']):
            evaluator.setdefault('outfile_prefix', osp.join(cfg.work_dir, table))
    if args.dump:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'--dump must end in .pkl, got {args.dump}')
        cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=args.dump)]
    runner = start(cfg, args, ('test_dataloader',))
    check_one_prediction(runner)
    metrics = runner.test()
    if args.out and runner.rank == 0:
        write_json(metrics, args.out)
    finish_distributed()
    return 0


def _weights(args: argparse.Namespace) -> str:
    """What names the weights; nothing is fetched."""
    from mmhier.zoo.choice import AUTO, check_weights
    from mmhier.zoo.names import resolve_config

    if args.checkpoint != AUTO:
        return args.checkpoint
    found = str(check_weights(resolve_config(args.config)))
    print(f'weights: {found}', file=sys.stderr)
    return found


def write_json(content: dict, path: str) -> None:
    """Write ``content`` to ``path`` in one step, so that a reader never sees half a file."""
    with new_file(path) as temporary:
        temporary.write_text(f'{json.dumps(content, indent=2)}\n', encoding='utf-8')
