"""The command ``mmhier``: one sub-command per module of :data:`COMMANDS`.

Each of these modules has ``add_arguments(parser)`` and ``run(args) -> int`` (the exit status). Only the one
that is asked for is imported, so that ``mmhier --help`` answers at once.
"""

import argparse
import errno
import importlib
import os
import sys

from mmhier import user_cache
from mmhier.compat.installation import advice
from mmhier.user_errors import USER_ERRORS
from mmhier.version import __version__

# Sub-command -> its module, and one line of help.
COMMANDS = {
    'demo': ('mmhier.cli.demo', 'synthetic people, their poses and meshes: pictures without a network'),
    'infer': ('mmhier.cli.infer', 'find poses and meshes in images, videos and on a camera'),
    'app': ('mmhier.cli.app', 'a page in the browser: upload, see the overlay and the mesh, download'),
    'doctor': ('mmhier.cli.doctor', 'show versions, what works, what does not and how to repair it'),
    'synth': ('mmhier.cli.synth', 'render a data set of synthetic people, free of licences'),
    'check-data': ('mmhier.cli.check_data', 'say what of the data sets of a config is there, and of use'),
    'train': ('mmhier.cli.train', 'train a model'),
    'test': ('mmhier.cli.test', 'evaluate a checkpoint'),
    'models': ('mmhier.cli.models', 'list the models with parameters and multiply-adds'),
    'export': ('mmhier.cli.export', 'write a model for other runtimes (ONNX, OpenVINO ...)'),
    'benchmark': ('mmhier.cli.benchmark', 'time models on this machine'),
    'compare': ('mmhier.cli.compare', 'train several models under one budget: accuracy against cost'),
    'body-model': (
        'mmhier.cli.body_model',
        'install SMPL files that you have, list what is installed',
    ),
    'convert': ('mmhier.cli.convert', 'convert weights of other projects'),
    'quickstart': ('mmhier.cli.quickstart', 'people, training, evaluation and pictures in one go'),
}

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
TRACEBACK_VARIABLE = 'MMHIER_TRACEBACK'


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv (list[str], optional): Arguments after the program's name. Default: those of this process.

    Returns:
        int: 0 if all went well, 1 after an error of the user's, 130 after Ctrl-C. (Wrong options end the
        process with 2, as argparse does.)
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        args = _parse(argv)
        return args.run(args) or 0
    except KeyboardInterrupt:
        print('mmhier: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mmhier ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except USER_ERRORS as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(f'mmhier: {type(error).__name__}: {error}{_remedy(error)}', file=sys.stderr)
        return 1


def _remedy(error: Exception) -> str:
    """What helps, if an error does not say so itself: how to install what is missing, another cache."""
    if isinstance(error, OSError) and error.errno in READ_ONLY and error.filename:
        variable = user_cache.variable_of(error.filename)
        return f'. Set {variable} to a folder that this user can write to' if variable else ''
    remedy = advice(getattr(error, 'name', None) or '') if isinstance(error, ModuleNotFoundError) else None
    return f'. {remedy}' if remedy and remedy not in str(error) else ''


def _parse(argv: list[str]) -> argparse.Namespace:
    """Parse the arguments; import the module of the sub-command among them and no other."""
    parser = argparse.ArgumentParser(
        prog='mmhier',
        description='Low-cost human pose and body mesh with truncated hierarchical encoders.',
        epilog=f'mmhier COMMAND --help describes a command. Errors show one line; {TRACEBACK_VARIABLE}=1 in '
        'the environment shows where they come from.',
    )
    parser.add_argument('--version', action='version', version=f'mmhier {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    asked = next((word for word in argv if not word.startswith('-')), None)
    for name, (module_name, line) in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=f'{line[0].upper()}{line[1:]}.')
        if name == asked:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser.parse_args(argv)
