"""``tools/train.py`` and ``mmhier train``: MMPose's training script with its options, plus safe start-up."""

import argparse
import os.path as osp

from mmhier.cli.trust import add_trust_option, apply_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; the names are MMPose's."""
    from mmengine.config import DictAction

    parser.add_argument('config', help='config file or name, see mmhier models')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint, or without a value from the latest one in the work directory',
    )
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help="scale the learning rate to this run's total batch size"
    )
    add_shared_arguments(parser, DictAction)


def add_shared_arguments(parser: argparse.ArgumentParser, dict_action: type[argparse.Action]) -> None:
    """Declare what training and testing have in common."""
    parser.add_argument('--show-dir', help='write pictures of the predictions into this directory')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--interval', type=int, default=1, help='draw every n-th batch (default: %(default)s)'
    )
    parser.add_argument('--wait-time', type=float, default=1, help='seconds to show each picture')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=dict_action,
        help='override config values, e.g. train_cfg.max_epochs=1',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    add_trust_option(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace):
    """Read the config and apply the options that training and testing share."""
    from mmhier.engine.settings import load_settings
    from mmhier.zoo.names import resolve_config

    path = resolve_config(args.config)
    cfg = load_settings(str(path), args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', path.stem)
    if args.show or args.show_dir is not None:
        hook = cfg.default_hooks.setdefault('visualization', dict(type='PoseVisualizationHook'))
        hook.update(
            enable=True,
            show=args.show,
            wait_time=args.wait_time if args.show else 0,
            out_dir=args.show_dir,
            interval=args.interval,
        )
    return cfg


def start(cfg, args: argparse.Namespace, loaders: tuple[str, ...]):
    """Check the config and build the runner."""
    import os

    from mmhier.engine.checkpoint_match import CheckpointMatchHook
    from mmhier.engine.launch import prepare_distributed
    from mmhier.engine.preflight import check_run
    from mmhier.engine.runner import ExactRunner
    from mmhier.engine.settings import check_custom_keys

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    apply_trust(args)
    check_run(cfg, loaders)
    prepare_distributed(cfg)
    runner = ExactRunner.described_by(cfg)
    training = 'train_dataloader' in loaders
    if training:
        check_custom_keys(runner.model, args.cfg_options)
    runner.register_hook(CheckpointMatchHook(fine_tuning=training, testing=not training))
    return runner


def check_batches(runner) -> None:
    """Refuse a training set that is smaller than a batch which has to be full.

    Raises:
        ValueError: If an epoch has no batch.
    """
    loader = runner.train_dataloader
    if hasattr(loader.dataset, '__len__') and not len(loader):
        raise ValueError(
            f'{len(loader.dataset)} training samples do not fill a batch of {loader.batch_size} on each of '
            f'{runner.world_size} processes, and train_dataloader.drop_last leaves out what is not full. Set '
            '--cfg-options train_dataloader.batch_size to less, or train_dataloader.drop_last=False'
        )


def run(args: argparse.Namespace) -> int:
    """Train."""
    from mmhier.engine.launch import finish_distributed
    from mmhier.engine.stop_signals import RunStopped, StopSignals
    from mmhier.engine.trial import check_one_step

    cfg = load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(f'--amp cannot replace optim_wrapper.type {wrapper!r}')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.resume:
        cfg.resume = 'auto' if args.resume == 'auto' else True
        cfg.load_from = cfg.get('load_from') if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        if 'auto_scale_lr' not in cfg:
            raise ValueError(f'--auto-scale-lr needs auto_scale_lr.base_batch_size in {args.config}')
        cfg.auto_scale_lr.enable = True
    runner = start(cfg, args, ('train_dataloader', 'val_dataloader'))
    check_batches(runner)
    check_one_step(runner, cfg)
    try:
        with StopSignals() as runner.stop_signals:
            runner.train()
    except RunStopped as stopped:
        runner.logger.warning(
            f'a signal has asked to stop: saved to {stopped.path}; --resume goes on from there'
        )
        finish_distributed()
        return stopped.code
    finish_distributed()
    return 0
