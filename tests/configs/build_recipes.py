"""Start training and testing of configs, up to where weights are needed.

    build_recipes.py CONFIG... [KEY=VALUE...]

Everything that a run builds is built by the code that builds it: data sets, samplers, hooks, loops,
evaluators, optimizers and their schedules. Networks are not filled with random numbers and configs are not
laid out for the log, teachers are not asked: any of it would take longer than all the rest. Prints what has
been built; ends with the first error.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

from mmhier.cli.main import main

CHECKPOINT = 'any.pth'


class BuiltError(Exception):
    """All is built; what would come next is weights."""


def stop(runner):
    raise BuiltError


@contextmanager
def unfilled():
    """Networks are built with whatever their memory holds."""
    from torch.nn import init

    functions = {name: value for name, value in vars(init).items() if name.endswith('_') and callable(value)}
    for name in functions:
        setattr(init, name, lambda tensor, *args, **kwargs: tensor)
    try:
        yield
    finally:
        for name, function in functions.items():
            setattr(init, name, function)


def build(command):
    try:
        sys.exit(main(command) or 'the run has ended before it came to its weights')
    except BuiltError:
        print(f'BUILT {command[0]} {Path(command[1]).stem}', flush=True)


def build_all(configs, options):
    from mmengine.config import Config
    from mmengine.runner import Runner
    from mmpose.models.pose_estimators import TopdownPoseEstimator

    from mmhier.distillation import DistilledPoseEstimator

    Runner._init_model_weights = Runner.load_or_resume = stop
    Config.pretty_text = property(repr)
    DistilledPoseEstimator.loss = TopdownPoseEstimator.loss
    for config in configs:
        # a network that is looked into needs numbers
        surveyed = Config.fromfile(config).model.backbone.type == 'TruncatedBackbone'
        for command in (['train', config], ['test', config, CHECKPOINT]):
            if surveyed:
                build([*command, *options])
            else:
                with unfilled():
                    build([*command, *options])


if __name__ == '__main__':
    Path(CHECKPOINT).touch()
    given = [word for word in sys.argv[1:] if '=' in word]
    build_all(
        [word for word in sys.argv[1:] if word not in given],
        ['--cfg-options', *given] if given else [],
    )
