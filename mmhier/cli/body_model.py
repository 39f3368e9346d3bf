"""``mmhier body-model``: install the files of SMPL and SMPL-X that a user has, and list what is installed."""

import argparse
import sys

from mmhier.body_models.joint_regressor import REGRESSOR_FILES, is_available
from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.body_models.model_directory import (
    BUILT,
    INSTALLED,
    NAMES,
    PARTS,
    SITES,
    body_file,
    install_body,
    install_parts,
    install_regressor,
    installed_path,
    load_body_data,
)
from mmhier.body_models.model_files import (
    GENDERS,
    KINDS,
    Found,
    FoundParts,
    FoundRegressor,
    read_members,
    recognise,
)
from mmhier.body_models.open_body import cache_directory

# All that models and their data sets use, of the shape and of the expression.
DEFAULT_NUM_BETAS = 10
PART_FILES = {'hands': 'MANO_SMPLX_vertex_ids.pkl', 'face': 'SMPL-X__FLAME_vertex_ids.npy'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    setup = actions.add_parser(
        'setup',
        help='install files of SMPL and SMPL-X',
        description='Recognise files of SMPL, of SMPL-X and of their joint regressors, check them, install '
        'them in the folder of body models ($MMHIER_BODY_MODELS). Nothing in them is executed. '
        f'SMPL: {SITES["smpl"]}; SMPL-X: {SITES["smplx"]}',
    )
    setup.add_argument(
        'files',
        metavar='FILE_OR_ZIP',
        nargs='+',
        help='SMPL or SMPL-X .pkl or .npz, SMPL_to_J19.pkl, J_regressor_h36m.npy, SMPLX_to_J14.pkl, '
        f'{", ".join(PART_FILES.values())}, or a downloaded ZIP of them',
    )
    setup.add_argument('--gender', choices=GENDERS, help='of a single model whose name does not tell')
    setup.add_argument(
        '--num-betas',
        type=int,
        default=DEFAULT_NUM_BETAS,
        help='shape components to keep (default: %(default)s)',
    )
    setup.add_argument(
        '--num-expressions',
        type=int,
        default=DEFAULT_NUM_BETAS,
        help='expression components of SMPL-X to keep (default: %(default)s)',
    )
    actions.add_parser('list', help='list what is installed', description='List what is installed.')


def run(args: argparse.Namespace) -> int:
    """Carry out the action; return the exit status."""
    if args.action == 'list':
        return _list()
    return _setup(args.files, args.gender, args.num_betas, args.num_expressions)


def _setup(files: list[str], gender: str | None, num_betas: int, num_expressions: int) -> int:
    if num_betas < 1:
        raise ValueError(f'--num-betas {num_betas}: at least 1.')
    if num_expressions < 0:
        raise ValueError(f'--num-expressions {num_expressions}: at least 0.')
    refused, useless = [], []
    installed: dict[str, str] = {}
    for file in files:
        before = len(installed)
        for source, content in read_members(file):
            try:
                found = recognise(content, source)
                name, line = _install(found, gender, (num_betas, num_expressions), installed)
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
        raise ValueError(
            f'Nothing to install in {", ".join(files)}: no model of SMPL or SMPL-X, no joint regressor.'
        )
    return 1 if useless else 0  # a ZIP also holds other files, which are none of the user's choice


def _install(
    found: Found, gender: str | None, num_components: tuple[int, int], installed: dict[str, str]
) -> tuple[str, str]:
    """Write one find; return its name and what to tell the user."""
    name = _name(found, gender)
    if name in installed:
        raise ValueError(f'{found.source}: {name} has just been installed from {installed[name]}.')
    if isinstance(found, FoundRegressor):
        return name, f'{found.source}: joint regressor {REGRESSOR_FILES[name]} -> {install_regressor(found)}'
    if isinstance(found, FoundParts):
        counts = ', '.join(f'{len(part)} of the {key.replace("_", " ")}' for key, part in found.parts.items())
        (path,) = install_parts(found)
        return name, f'{found.source}: vertices of SMPL-X, {counts} -> {path}'
    model = found.model
    kept = [min(asked, has) for asked, has in zip(num_components, (model.num_betas, model.num_expressions))]
    path = install_body(found, INSTALLED[name][1], *num_components)
    line = (
        f'{found.source}: {KINDS[found.kind].name} {INSTALLED[name][1]}, version {found.version}, '
        f'{len(model.v_template)} vertices, {model.num_joints} joints, {len(model.faces)} faces, '
        f'{kept[0]} of {model.num_betas} shape components'
    )
    if model.num_expressions:
        line += f', {kept[1]} of {model.num_expressions} expression components'
    return name, f'{line} -> {path}'


def _name(found: Found, gender: str | None) -> str:
    """What a find is installed as."""
    if isinstance(found, FoundRegressor):
        return found.group
    if isinstance(found, FoundParts):
        return next(name for name, parts in PARTS.items() if set(parts) == found.parts.keys())
    gender = gender or found.gender
    if gender is None:
        raise ValueError(
            f'{found.source} is a {KINDS[found.kind].name} model, but neither content nor name tells its '
            f'gender: add --gender {"|".join(GENDERS)}.'
        )
    return next(name for name, key in INSTALLED.items() if key == (found.kind, gender))


def _list() -> int:
    print(f'Body models in {cache_directory()}')
    width = max(map(len, NAMES))
    for name in NAMES:
        path = body_file(name)
        if path.is_file():
            data = load_body_data(name)
            sets = ', '.join(s for s, joints in JOINT_SETS.items() if is_available(joints, data))
            components = f'{data.num_betas} shape components'
            if data.num_expressions:
                components += f', {data.num_expressions} expression components'
            print(f'  {name:{width}} {path.name}: {components}; joint sets: {sets}')
        elif name in BUILT:
            print(f'  {name:{width}} built when it is first used')
        else:
            site = SITES[INSTALLED[name][0]]
            print(f'  {name:{width}} not installed: {site}, then `mmhier body-model setup FILE_OR_ZIP`')
    for name, file in (REGRESSOR_FILES | PART_FILES).items():
        state = installed_path(name).name if installed_path(name).is_file() else 'not installed'
        print(f'  {name:{width}} {state}: {file}')
    return 0
