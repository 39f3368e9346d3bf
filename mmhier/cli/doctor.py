"""``mmhier doctor``: what is installed, what works (by trying it), what does not and how to repair it.

``--fix`` does the latter where it is a matter of installing something. Exit status: 0 everything required
works, 1 it does not, 2 something would have to be installed and nobody has allowed it.
"""

import argparse
import platform
import shlex
import subprocess
import sys

from mmhier.compat import checks
from mmhier.compat.installation import INSTALL, pip_command
from mmhier.parts import OK, Finding, Part, importable, installed, look_at, told_by
from mmhier.suggestions import did_you_mean
from mmhier.version import __version__

NOT_ALLOWED = 2

# Of other rooms nothing is imported before it is tried, as any of it may be what does not work.
REQUIRED = checks.REQUIRED
OPTIONAL = (
    Part('onnxruntime', importable('onnxruntime'), ('onnxruntime',), 'for the default detector'),
    Part(
        'released weights',
        told_by('mmhier.zoo.cache', 'check'),
        advice='set MMHIER_HOME to a folder that can be written to',
    ),
    Part('synthetic people', told_by('mmhier.body_models.anny_source', 'check'), ('anny>=0.6.2',)),
    Part(
        'selective scan',
        told_by('mmhier.ops.selective_scan.dispatch', 'check'),
        advice='see the reason above; it is built by ninja and g++',
    ),
    Part(
        'drawing',
        told_by('mmhier.rasterizer.native', 'check'),
        advice='see the reason above; it is built by g++',
    ),
    *checks.OPTIONAL,
    Part('timm', importable('timm'), ('timm',), 'for its backbones'),
    Part('safetensors', importable('safetensors.torch', 'safetensors'), ('safetensors',)),
    Part('tensorboard', importable('tensorboard'), ('tensorboard',)),
    Part('wandb', importable('wandb'), ('wandb',)),
    Part('onnx', importable('onnx'), ('onnx', 'onnxscript')),
    Part('openvino', importable('openvino'), ('openvino',)),
    Part('nncf', installed('nncf'), ('nncf',), 'for int8 in OpenVINO'),
    Part('av', importable('av'), ('av',), 'for videos'),
    Part('usd-core', importable('pxr.Usd', 'usd-core'), ('usd-core',), 'for USD files'),
    Part('gradio', installed('gradio'), ('gradio',), 'for the page of mmhier app'),
    Part('ray', installed('ray'), ('ray',), 'for labelling with several workers'),
    Part('pyarrow', installed('pyarrow'), ('pyarrow',), 'for Parquet files'),
    Part('webdataset', importable('webdataset'), ('webdataset',), 'for training from object storage'),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--fix',
        nargs='*',
        metavar='PART',
        help='install what is missing of the required parts, and of optional ones that are named; asks first',
    )
    parser.add_argument('--yes', action='store_true', help='with --fix: do not ask')


def run(args: argparse.Namespace) -> int:
    """Print the report; with ``--fix`` repair what can be."""
    if args.fix is None:
        if args.yes:
            raise ValueError('--yes goes with --fix')
        return _report()
    wanted = _named(args.fix)
    return _fix([*REQUIRED, *wanted], args.yes)


def _report() -> int:
    print(f'mmhier {__version__} on {platform.system()} {platform.machine()}, {sys.executable}')
    print('\nRequired')
    broken = [found for found in map(_show, REQUIRED) if found.state != OK]
    print('\nOptional')
    for part in OPTIONAL:
        _show(part)
    if not broken:
        print('\nEverything required works.')
        return 0
    print(f'\nNot working, required: {", ".join(found.part.name for found in broken)}.')
    if any(map(_repair, broken)):
        print('To install what is missing: mmhier doctor --fix')
    return 1


def _show(part: Part) -> Finding:
    """Try one part and print what came out."""
    found = look_at(part)
    print(f'  {part.name:<18} {found.state:<7} {found.text}', flush=True)
    if found.state != OK:
        print(f'  {"":<26} -> {part.remedy}', flush=True)
    return found


def _named(names: list[str]) -> list[Part]:
    """Optional parts by their names."""
    known = {part.name: part for part in OPTIONAL if part.install}
    for name in names:
        if name not in known and name not in {part.name for part in REQUIRED}:
            hint = did_you_mean(name, known) or f': there are {", ".join(known)}'
            raise ValueError(f'--fix {name}: no such part{hint}')
    return [known[name] for name in names if name in known]


def _repair(found: Finding) -> tuple[str, ...]:
    """What pip has to install for a part: what it lacks, which may be another one, or itself anew."""
    return INSTALL.get((found.missing or '').partition('.')[0], found.part.install)


def _fix(parts: list[Part], allowed: bool) -> int:
    """Install what is missing, and look again in a new process, since this one has seen it missing."""
    broken = [found for found in map(look_at, parts) if found.state != OK]
    commands = list(dict.fromkeys(filter(None, map(_repair, broken))))
    for found in broken:
        print(f'{found.part.name}: {found.text}')
    if not commands:
        return _beyond_repair(broken)
    commands = [pip_command(arguments) for arguments in commands]
    if not allowed and not _consent(commands):
        return NOT_ALLOWED
    for command in commands:
        print(f'$ {shlex.join(command)}', flush=True)
        if subprocess.run(command, check=False).returncode:
            raise OSError(f'this failed, see above for why: {shlex.join(command)}')
    return subprocess.run([sys.executable, '-m', 'mmhier', 'doctor'], check=False).returncode


def _beyond_repair(broken: list[Finding]) -> int:
    if not broken:
        print('There is nothing to repair: everything required works.')
        return 0
    for found in broken:
        print(f'{found.part.name} -> {found.part.remedy}')
    return 1


def _consent(commands: list[list[str]]) -> bool:
    """Ask on a terminal whether to run commands; elsewhere say what they are."""
    lines = '\n'.join(f'  {shlex.join(command)}' for command in commands)
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        print(f'To repair this, run\n{lines}\nor: mmhier doctor --fix --yes')
        return False
    print(f'This repairs it:\n{lines}\nRun it now? [y/N] ', end='', flush=True)
    return sys.stdin.readline().strip().lower() in ('y', 'yes')
