"""Samples per second on one core: mmhier's training pipeline for meshes beside that of 4D-Humans.

Both read the same tars, drawn here in the layout of the real ones. The other side is ``tests/reference/
hmr2_data.py``, the official steps without webdataset's own overhead, so it is if anything too fast; it goes
through a tar in its order and decodes an image once for all people in it. Ours draws people in random order.
The two take turns; the figure that counts is the ratio.

    python tools/benchmark/mesh_data_speed.py --image-hw 480 640 --people 1 --out mesh_data_speed.csv
"""

import argparse
import io
import runpy
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rows import add_rows

import mmhier  # noqa: F401  (makes MMPose importable)
from mmhier.datasets.mesh import MeshTarDataset, MixedDataset
from mmhier.datasets.transforms.mesh_filters import POSE_THRESHOLDS, PRIOR_JOINTS
from mmhier.testing.mesh_data import shard_members, write_tar

# Fine noise of the drawn pictures, which makes them as large as photographs: half a byte per pixel.
GRAIN = 9.0

FIELDS = ('width', 'height', 'bytes_per_pixel', 'people', 'masks', 'pipeline', 'ms_per_sample', 'ratio')

REFERENCE = Path(__file__).parents[2] / 'tests' / 'reference' / 'hmr2_data.py'


def pipeline(histogram: str, reduced: bool, rounded: bool) -> list[dict]:
    """HMR2.0's training pipeline."""
    return [
        dict(type='SuppressKeypoints'),
        dict(type='SuppressBodyParameters', pose_histogram=histogram),
        dict(type='RandomMeshBox'),
        dict(type='LoadMeshImage', reduced=reduced),
        dict(type='MeshAffine'),
        dict(type='RandomChannelScale', rounded=rounded),
        dict(type='PackMeshInputs'),
    ]


def main() -> None:
    """Draw a tar, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--image-hw', type=int, nargs=2, default=(480, 640))
    parser.add_argument('--people', type=int, default=1, help='per image')
    parser.add_argument('--images', type=int, default=32)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--without-masks', action='store_true', help='as in the sets without detection.npz')
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    official = runpy.run_path(str(REFERENCE))['run']
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    members = shard_members(rng, args.images, args.people, tuple(args.image_hw), GRAIN)
    if not args.without_masks:
        for number in range(args.images):
            masks = np.zeros((args.people, *args.image_hw), bool)
            masks[:, args.image_hw[0] // 4 : -50, args.image_hw[1] // 4 : -100] = True
            buffer = io.BytesIO()
            np.savez_compressed(buffer, masks=masks)
            members[f'set/{number:06d}.detection.npz'] = buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        write_tar(Path(folder, '000000.tar'), members)
        histogram = str(Path(folder, 'histogram.npy'))
        counts = np.ones((len(PRIOR_JOINTS), 100, 100, 100), np.float32)
        np.save(histogram, counts)
        others = [
            tuple(
                members.get(f'set/{number:06d}.{suffix}') for suffix in ('jpg', 'data.pyd', 'detection.npz')
            )
            for number in range(args.images)
        ]
        contestants = {
            'ours': (False, False),
            'ours, --rounded': (False, True),
            'ours, --reduced': (True, True),
        }
        ours = {
            name: MixedDataset(
                [
                    MeshTarDataset(
                        'drawn', '*.tar', folder, person_filter={}, pipeline=pipeline(histogram, *how)
                    )
                ]
            )
            for name, how in contestants.items()
        }
        density = torch.from_numpy(counts / counts.sum() / (2 * np.pi / 100) ** 3)
        thresholds = torch.tensor([POSE_THRESHOLDS[name] for name in PRIOR_JOINTS])
        times = {'4D-Humans': [], **{name: [] for name in ours}}
        for turn in range(args.rounds + 1):
            start = time.perf_counter()
            people = sum(len(official(sample, density, thresholds)) for sample in others)
            times['4D-Humans'].append((time.perf_counter() - start) / people)
            for name, dataset in ours.items():
                start = time.perf_counter()
                for number in range(len(dataset)):
                    dataset[turn * len(dataset) + number]
                times[name].append((time.perf_counter() - start) / len(dataset))
    reference = statistics.median(times['4D-Humans'][1:])
    height, width = args.image_hw
    size = statistics.mean(len(image) for image, *_ in others) / (height * width)
    masks = 'no masks' if args.without_masks else 'masks'
    print(f'{width} x {height} pixels, {size:.2f} bytes per pixel, {args.people} per image, {masks}')
    rows = []
    for name, values in times.items():
        median = statistics.median(values[1:])
        print(f'{name:16s} {1e3 * median:6.2f} ms per sample  {reference / median:5.2f} x')
        with_masks = str(not args.without_masks).lower()
        numbers = f'{1e3 * median:.3f}', f'{reference / median:.3f}'
        rows.append((width, height, f'{size:.2f}', args.people, with_masks, name, *numbers))
    if args.out:
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
