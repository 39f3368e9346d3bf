"""``mmhier body-model``: install the SMPL files that a user has, and list what is installed."""

import argparse
import sys

from mmhier.body_models.joint_regressor import REGRESSOR_FILES
from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.body_models.model_directory import (
    NAMES,
    SITE,
    install_body,
    install_regressor,
    installed_path,
    load_body_data,
)
from mmhier.body_models.model_files import GENDERS, FoundBody, FoundRegressor, read_members, recognise
from mmhier.body_models.open_body import cache_directory, open_body_path

# All that HMR models and their data sets use.
DEFAULT_NUM_BETAS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    setup = actions.add_parser(
        'setup',
        help='install files of SMPL',
        description='Recognise files of SMPL and of its joint regressors, check them, install them in the '
        f'folder of body models ($MMHIER_BODY_MODELS). Nothing in them is executed. SMPL: {SITE}',
    )
    setup.add_argument(
        'files',
        metavar='FILE_OR_ZIP',
        nargs='+',
        help='SMPL .pkl or .npz, SMPL_to_J19.pkl, J_regressor_h36m.npy, or a downloaded ZIP of them',
    )
    setup.add_argument('--gender', choices=GENDERS, help='of a single model whose name does not tell')
    setup.add_argument(
        '--num-betas',
        type=int,
        default=DEFAULT_NUM_BETAS,
        help='shape components to keep (default: %(default)s)',
    )
    actions.add_parser('list', help='list what is installed', description='List what is installed.')


def run(args: argparse.Namespace) -> int:
    """Carry out the action; return the exit status."""
    return _list() if args.action == 'list' else _setup(args.files, args.gender, args.num_betas)


def _setup(files: list[str], gender: str | None, num_betas: int) -> int:
    if num_betas < 1:
        raise ValueError(f'--num-betas {num_betas}: at least 1.')
    refused, useless = [], []
    installed: dict[str, str] = {}
    for file in files:
        before = len(installed)
        for source, content in read_members(file):
            try:
                found = recognise(content, source)
                name, line = _install(found, gender, num_betas, installed)
            except ValueError as error:
                refused.append(str(error))
                continue
            installed[name] = source
            print(line)
        if len(installed) == before:
            useless.append(file)
    for reason in refused:
        print(f'left out: {reason}', file=sys.stderr)
    if not installed:
        raise ValueError(f'Nothing to install in {", ".join(files)}: no SMPL model, no joint regressor.')
    return 1 if useless else 0  # a ZIP also holds other files, which are none of the user's choice


def _install(
    found: FoundBody | FoundRegressor, gender: str | None, num_betas: int, installed: dict[str, str]
) -> tuple[str, str]:
    """Write one find; return its name and what to tell the user."""
    name = found.group if isinstance(found, FoundRegressor) else gender or found.gender
    if name is None:
        raise ValueError(
            f'{found.source} is a SMPL model, but neither content nor name tells its gender: '
            f'add --gender {"|".join(GENDERS)}.'
        )
    if name in installed:
        raise ValueError(f'{found.source}: {name} has just been installed from {installed[name]}.')
    if isinstance(found, FoundRegressor):
        return name, f'{found.source}: joint regressor {REGRESSOR_FILES[name]} -> {install_regressor(found)}'
    model = found.model
    kept = min(num_betas, model.num_betas)
    path = install_body(found, name, num_betas)
    line = (
        f'{found.source}: SMPL {name}, version {found.version}, {len(model.v_template)} vertices, '
        f'{model.num_joints} joints, {len(model.faces)} faces, {kept} of {model.num_betas} shape components'
    )
    return name, f'{line} -> {path}'


def _list() -> int:
    print(f'Body models in {cache_directory()}')
    for name in NAMES:
        path = open_body_path() if name == 'open' else installed_path(name)
        if path.is_file():
            data = load_body_data(name)
            sets = ', '.join(s for s, joints in JOINT_SETS.items() if joints.groups <= data.regressors.keys())
            print(f'  {name:8} {path.name}: {data.num_betas} shape components; joint sets: {sets}')
        elif name == 'open':
            print(f'  {name:8} built when it is first used')
        else:
            print(f'  {name:8} not installed: {SITE}, then `mmhier body-model setup FILE_OR_ZIP`')
    for group, file in REGRESSOR_FILES.items():
        state = installed_path(group).name if installed_path(group).is_file() else 'not installed'
        print(f'  {group:8} {state}: {file}')
    return 0
