"""Make npz files for mesh recovery of a folder of synthetic people: one per split, beside its annotations.

python tools/prepare/synth_to_npz.py data/synth
"""

import argparse
import os
from pathlib import Path

from mmhier.body_models.model_directory import load_body_model
from mmhier.datasets.mesh.writer import convert_synthetic, write_people


def main() -> None:
    """Convert the splits that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--splits', nargs='+', default=['train', 'val'])
    args = parser.parse_args()
    body = load_body_model('open', 'hmr44')
    for split in args.splits:
        people = convert_synthetic(args.folder, split, body, os.path.join('images', split))
        path = args.folder / 'annotations' / f'mesh_{split}.npz'
        write_people(path, **people)
        print(f'{path}: {len(people["imgname"])} people')


if __name__ == '__main__':
    main()
