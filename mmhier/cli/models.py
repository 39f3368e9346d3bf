"""``mmhier models``: every model with its parameters, its multiply-adds and what is reported of it."""

import argparse
from pathlib import Path

from mmhier.cost.table import markdown, replace_between, write_csv, write_text

# Marks between which a text has the tables of pose and of mesh models.
MARKS = {
    has_mesh: (f'<!-- {name} models, made by `mmhier models --write` -->', f'<!-- end of {name} models -->')
    for has_mesh, name in ((False, 'pose'), (True, 'mesh'))
}
COLUMNS = ('Config', 'Input', 'Encoder, M', 'Model, M', 'Encoder, GMAC', 'Model, GMAC')
SCORES = {False: 'AP reported', True: 'PA-MPJPE reported, mm'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('names', nargs='*', metavar='NAME', help='configs; * and ? stand for others')
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
    """Print the tables, or do something with files of released weights."""
    from mmhier.cli.model_files import ACTIONS, run_action, weights_table

    if args.names and args.names[0] in ACTIONS:
        return run_action(args.names[0], args.names[1:], args.accept_licence)
    from mmhier.cost.macs import FORMULA, cost_of
    from mmhier.zoo.names import find_configs

    costs = [cost_of(path) for path in find_configs(args.names, task=None)]
    if args.csv:
        write_csv(args.csv, (*COLUMNS, 'Score reported'), [row(cost) for cost in costs])
    if args.plot:
        from mmhier.visualization.tradeoff import Point, draw_tradeoff

        points = [Point(c.name, c.macs / 1e9, c.reported_ap, c.params / 1e6) for c in costs if c.reported_ap]
        draw_tradeoff(args.plot, points, 'GMACs of the model', 'AP on COCO val, as reported')
    tables = {has_mesh: table(costs, has_mesh) for has_mesh in MARKS}
    if args.write:
        text = args.write.read_text(encoding='utf-8')
        for has_mesh, content in tables.items():
            if content:
                text = replace_between(text, MARKS[has_mesh], content, str(args.write))
        write_text(args.write, text)
    released = weights_table([cost.name for cost in costs] if args.names else [])
    print('\n\n'.join([*filter(None, [*tables.values(), released]), FORMULA]))
    return 0


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
