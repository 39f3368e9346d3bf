"""``mmhier models``: every pose model with its parameters, its multiply-adds and what is reported of it."""

import argparse
from pathlib import Path

from mmhier.cost.table import markdown, replace_between, write_csv, write_text

BEGIN, END = '<!-- made by `mmhier models --write` -->', '<!-- end of table -->'
HEADER = ('Config', 'Input', 'Encoder, M', 'Model, M', 'Encoder, GMAC', 'Model, GMAC', 'AP reported')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('names', nargs='*', metavar='NAME', help='configs; * and ? stand for others')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='write the table as CSV, too')
    parser.add_argument(
        '--plot', type=Path, metavar='FILE', help='draw cost against reported AP into a picture'
    )
    parser.add_argument(
        '--write', type=Path, metavar='FILE', help=f'put the table between {BEGIN} and {END} of a text file'
    )


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from mmhier.apis.model_zoo import find_configs
    from mmhier.cost.macs import FORMULA, cost_of

    paths = find_configs(args.names)
    costs = [cost_of(path) for path in paths]
    rows = [row(cost) for cost in costs]
    table = markdown(HEADER, rows)
    if args.csv:
        write_csv(args.csv, HEADER, rows)
    if args.plot:
        from mmhier.visualization.tradeoff import Point, draw_tradeoff

        points = [Point(c.name, c.macs / 1e9, c.reported_ap, c.params / 1e6) for c in costs if c.reported_ap]
        draw_tradeoff(args.plot, points, 'GMACs of the model', 'AP on COCO val, as reported')
    if args.write:
        text = args.write.read_text(encoding='utf-8')
        write_text(args.write, replace_between(text, (BEGIN, END), table, str(args.write)))
    print(f'{table}\n\n{FORMULA}')
    return 0


def row(cost) -> tuple[str, ...]:
    """Format what is known of a model."""
    width, height = cost.input_wh
    numbers = (cost.encoder_params / 1e6, cost.params / 1e6, cost.encoder_macs / 1e9, cost.macs / 1e9)
    ap = f'{cost.reported_ap:.1f} ({cost.source})' if cost.reported_ap else ''
    return (f'`{cost.name}`', f'{height}x{width}', *(f'{number:.2f}' for number in numbers), ap)
