"""``mmhier models``: what every model costs, what is reported of it, and which weights are released."""

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from mmhier.suggestions import did_you_mean
from mmhier.tables import (
    column_widths,
    markdown,
    markdown_head,
    markdown_row,
    replace_between,
    write_csv,
    write_text,
)

if TYPE_CHECKING:
    from mmhier.cost.kept import Cost

# Marks between which a text has the tables of pose and of mesh models.
MARKS = {
    has_mesh: (f'<!-- {name} models, made by `mmhier models --write` -->', f'<!-- end of {name} models -->')
    for has_mesh, name in ((False, 'pose'), (True, 'mesh'))
}
COLUMNS = ('Config', 'Input', 'Encoder, M', 'Model, M', 'Encoder, GMAC', 'Model, GMAC')
SCORES = {False: 'AP reported', True: 'PA-MPJPE reported, mm'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        'names',
        nargs='*',
        metavar='NAME',
        help='config file or name; * and ? stand for others, mmpose::* for all of MMPose (default: those '
        'for COCO and for the mix of HMR2.0)',
    )
    parser.add_argument('--csv', type=Path, metavar='FILE', help='write the table as CSV, too')
    parser.add_argument(
        '--plot', type=Path, metavar='FILE', help='draw cost against reported AP into a picture'
    )
    parser.add_argument(
        '--write', type=Path, metavar='FILE', help='put the tables between their marks in a text file'
    )
    from mmhier.cli.model_files import add_options

    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the tables, or do something with files of released weights.

    The table of costs comes row by row, as models are counted; then that of what has been released.
    """
    from mmhier.cli.model_files import ACTIONS, run_action, weights_table

    if args.names and args.names[0] in ACTIONS:
        return run_action(args.names[0], args.names[1:], args.accept_licence)
    from mmhier.cost.kept import FORMULA, kept_cost
    from mmhier.zoo.names import find_configs

    try:
        paths = find_configs(args.names)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{error}{did_you_mean(args.names[0], ACTIONS, "mmhier models ")}') from error
    new = [path.stem for path in paths if kept_cost(path) is None]
    if new:
        names = textwrap.fill(', '.join(new), 110, break_on_hyphens=False)
        print(f'Counted once, {len(new)} of {len(paths)}:\n{names}\n', file=sys.stderr, flush=True)
    costs = _print_rows(paths)
    print(f'\n{FORMULA}')
    if weights := weights_table([cost.name for cost in costs] if args.names else []):
        print(f'\n{weights}')
    if args.csv:
        write_csv(args.csv, (*COLUMNS, 'Score reported'), [row(cost) for cost in costs])
    if args.plot:
        from mmhier.visualization.tradeoff import Point, draw_tradeoff

        points = [Point(c.name, c.macs / 1e9, c.reported_ap, c.params / 1e6) for c in costs if c.reported_ap]
        draw_tradeoff(args.plot, points, 'GMACs of the model', 'AP on COCO val, as reported')
    if args.write:
        text = args.write.read_text(encoding='utf-8')
        for has_mesh in MARKS:
            if content := table(costs, has_mesh):
                text = replace_between(text, MARKS[has_mesh], content, str(args.write))
        write_text(args.write, text)
    return 0


def _print_rows(paths: list[Path]) -> list['Cost']:
    """Print what models cost, one after the other, and return it; a table ends where the kind changes.

    Raises:
        ValueError: If none of them can be counted.
    """
    from mmhier.cost.kept import find_cost

    headers = {has_mesh: (*COLUMNS, score) for has_mesh, score in SCORES.items()}
    # What is known before anything is counted.
    known = [(f'`{path.stem}`', '256x192', '', '', '', '', _reported(path)) for path in paths]
    widths = column_widths([*headers.values(), *known])
    costs: list[Cost] = []
    left_out: dict[str, ValueError] = {}
    for path in paths:
        try:
            cost = find_cost(path)
        except ValueError as error:
            left_out[path.stem] = error
            continue
        if not costs or costs[-1].has_mesh is not cost.has_mesh:
            print(('\n' if costs else '') + markdown_head(headers[cost.has_mesh], widths))
        print(markdown_row(row(cost), widths), flush=True)
        costs.append(cost)
    for name, error in left_out.items():
        if not costs:
            raise error
        print(f'mmhier: left out {name}: {error}', file=sys.stderr)
    return costs


def _reported(path: Path) -> str:
    """The score that the head of a config reports."""
    from mmhier.cost.kept import AP, PA_MPJPE, reported

    found = (reported(path, what) for what in (AP, PA_MPJPE))
    return next((f'{score:.1f} ({source})' for score, source in found if score), '')


def table(costs: list, has_mesh: bool) -> str:
    """Format what is known of the pose or of the mesh models among some."""
    rows = [row(cost) for cost in costs if cost.has_mesh is has_mesh]
    return markdown((*COLUMNS, SCORES[has_mesh]), rows) if rows else ''


def row(cost) -> tuple[str, ...]:
    """Format what is known of a model."""
    width, height = cost.input_wh
    numbers = (cost.encoder_params / 1e6, cost.params / 1e6, cost.encoder_macs / 1e9, cost.macs / 1e9)
    score = cost.reported_pa_mpjpe if cost.has_mesh else cost.reported_ap
    reported = f'{score:.1f} ({cost.source})' if score else ''
    return (f'`{cost.name}`', f'{height}x{width}', *(f'{number:.2f}' for number in numbers), reported)
