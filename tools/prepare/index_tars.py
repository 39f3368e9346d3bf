"""Index tars of 4D-Humans before training, with several processes, and report damage.

python tools/prepare/index_tars.py 'hmr2_training_data/dataset_tars/h36m-train/{000000..000312}.tar'
"""

import argparse
import sys

from mmhier.datasets.mesh.annotation import count_problems
from mmhier.datasets.mesh.tar_index import build_indexes, expand_shards


def main() -> int:
    """Build what is missing; the exit status is 1 if a tar is missing or damaged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('patterns', nargs='+')
    parser.add_argument('--index-dir')
    parser.add_argument('--workers', type=int, default=4)
    args = parser.parse_args()
    indexes = build_indexes(expand_shards(args.patterns), args.index_dir, args.workers)
    for index in indexes:
        problems = '; '.join(f'{n}: {text}' for text, n in count_problems(index.people['problem']).items())
        notes = '; '.join(filter(None, (index.damage, problems)))
        print(f'{index.tar}: {len(index.people)} people' + (f'; {notes}' if notes else ''))
    damaged = sum(index.damage is not None for index in indexes)
    print(
        f'{len(indexes)} tars, {sum(len(index.people) for index in indexes)} people, {damaged} tars damaged'
    )
    return int(damaged > 0)


if __name__ == '__main__':
    sys.exit(main())
