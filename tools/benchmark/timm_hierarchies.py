"""List which architectures of timm TruncatedBackbone cuts, and why it refuses the others.

Weights are not needed, and no memory for them. The table has one row per hierarchy; networks whose maps all
have one stride are only counted. What is neither cut nor refused in one sentence is an error: its row says
so, and the command fails at the end.

    python tools/benchmark/timm_hierarchies.py --processes 2 --out docs/benchmarks/timm_hierarchies.csv
"""

import argparse
import csv
import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

from mmhier.atomic import new_file
from mmhier.models.backbones.network_survey import ONE_STRIDE
from mmhier.testing.timm_hierarchies import Finding, architectures, examine, module_of

ERROR = 'ERROR '


def examined(name: str) -> Finding:
    """A row, whatever happens."""
    try:
        return examine(name)
    except Exception as error:
        return Finding(name, module_of(name), reason=f'{ERROR}{type(error).__name__}: {error}')


def main(arguments: Sequence[str] | None = None) -> None:
    """Examine the architectures and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--names', nargs='+', help='replace these rows of the file; default: all of timm')
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--out', type=Path, required=True, help='CSV file')
    args = parser.parse_args(arguments)
    found = []
    with multiprocessing.get_context('spawn').Pool(args.processes) as pool:
        for row in pool.imap(examined, args.names or architectures(), chunksize=4):
            print(f'{row.name}: {row.reason or row.layers}', flush=True)
            found.append(row)
    if args.names is not None and args.out.exists():
        with args.out.open(newline='') as file:
            found += [Finding(**row) for row in csv.DictReader(file) if row['name'] not in args.names]
    found.sort(key=lambda row: row.name)
    hierarchies = [row for row in found if ONE_STRIDE not in row.reason]
    with new_file(args.out) as path, path.open('w', newline='') as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Finding)])
        writer.writeheader()
        writer.writerows(map(asdict, hierarchies))
    cut = sum(not row.reason for row in hierarchies)
    print(
        f'timm {version("timm")}: {cut} of {len(hierarchies)} hierarchies are cut; the maps of '
        f'{len(found) - len(hierarchies)} other networks have one stride'
    )
    if errors := [row.name for row in hierarchies if row.reason.startswith(ERROR)]:
        raise SystemExit(f'neither cut nor refused: {errors}')


if __name__ == '__main__':
    main()
