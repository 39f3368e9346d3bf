"""What the blur's border changes when heatmaps are decoded: MMPose 1.x (zeros) beside 0.x (mirrored).

Heatmaps are the training targets of keypoints drawn evenly over a 192 x 256 crop, cut at the map's border as
targets are, with a little noise. Per distance of the peak to the border of the 48 x 64 map: how far the two
decodings lie apart, and how far each is from the truth, in pixels of the crop.

    python tools/benchmark/udp_border.py --out docs/benchmarks/udp_border.csv
"""

import argparse
import csv
from pathlib import Path

import numpy as np

import mmhier  # noqa: F401  (makes MMPose importable)
from mmhier.atomic import new_file
from mmhier.tables import markdown

FIELDS = (
    'cells_to_border', 'peaks', 'apart_median_px', 'apart_max_px', 'zeros_error_median_px',
    'mirrored_error_median_px',
)  # fmt: skip
RANGES = ((0, 2), (2, 4), (4, 6), (0, 6), (6, 24))


def main() -> None:
    """Draw, decode, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--keypoints', type=int, default=20000)
    parser.add_argument('--noise', type=float, default=0.005, help='of the heatmap, evenly from 0')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='CSV file')
    args = parser.parse_args()
    from mmpose.registry import KEYPOINT_CODECS

    rng = np.random.default_rng(args.seed)
    options = dict(input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
    codecs = [KEYPOINT_CODECS.build(dict(type=t, **options)) for t in ('UDPHeatmap', 'ViTPoseUDPHeatmap')]
    truth = rng.uniform([0, 0], [191, 255], (args.keypoints, 2))
    maps = codecs[0].encode(truth[None].astype(np.float32))['heatmaps']
    maps = (maps + args.noise * rng.random(maps.shape)).astype(np.float32)
    y, x = np.unravel_index(maps.reshape(len(maps), -1).argmax(1), (64, 48))
    border = np.minimum.reduce([x, y, 47 - x, 63 - y])
    # MMPose counts cells of all maps in float32, which ends at 2^24: some maps at a time
    parts = np.array_split(maps, len(maps) // 100)
    zeros, mirrored = (np.concatenate([codec.decode(part)[0][0] for part in parts]) for codec in codecs)
    scaled = truth * [192 / 191, 256 / 255]  # the unit of MMPose's codec
    rows = []
    for low, high in RANGES:
        chosen = (border >= low) & (border < high)
        apart, *errors = (
            np.linalg.norm(a[chosen] - b[chosen], axis=1)
            for a, b in ((zeros, mirrored), (zeros, scaled), (mirrored, scaled))
        )
        values = [np.median(apart), apart.max(), *map(np.median, errors)]
        rows.append((f'{low} to {high - 1}', int(chosen.sum()), *(f'{value:.2f}' for value in values)))
    print(markdown(FIELDS, [tuple(map(str, row)) for row in rows]))
    if args.out:
        with new_file(args.out) as path, path.open('w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows([FIELDS, *rows])


if __name__ == '__main__':
    main()
