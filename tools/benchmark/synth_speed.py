"""Images per second of CPU time of mmhier synth's renderer, JPEG included, one thread.

CPU time of this process, not wall time: it does not depend on what else runs. Sizes and scenes take turns.

    python tools/benchmark/synth_speed.py --out docs/benchmarks/synth_speed.csv
"""

import argparse
import statistics
import time
from pathlib import Path

import cv2
import torch
from rows import add_rows

from mmhier.body_models.open_body import load_open_body
from mmhier.datasets.synthetic.generator import JPEG_QUALITY, image_stream
from mmhier.datasets.synthetic.people import BodyKit
from mmhier.datasets.synthetic.rendering import render_image
from mmhier.datasets.synthetic.scene import SCENE_STYLES
from mmhier.tables import markdown

FIELDS = ('scenes', 'width', 'height', 'images', 'people_per_image', 'images_per_cpu_second')
CASES = (('simple', 256, 192), ('simple', 320, 256), ('varied', 320, 256))


def main() -> None:
    """Render in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--images', type=int, default=64, help='per case and round')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    kit = BodyKit(load_open_body())
    rates: dict[tuple, list[float]] = {case: [] for case in CASES}
    people = dict.fromkeys(CASES, 0)
    for number in range(args.rounds + 1):  # the first warms up
        for case in CASES:
            scenes, width, height = case
            start = time.process_time()
            for index in range(args.images):
                rng = image_stream(0, 'train', number * args.images + index)
                image, _, annotations = render_image(rng, kit, (height, width), SCENE_STYLES[scenes])
                cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                people[case] += len(annotations)
            rates[case].append(args.images / (time.process_time() - start))
    drawn = args.images * (args.rounds + 1)
    rows = [
        (
            *case,
            args.images * args.rounds,
            f'{people[case] / drawn:.2f}',
            f'{statistics.median(found[1:]):.1f}',
        )
        for case, found in rates.items()
    ]
    print(markdown(FIELDS, [tuple(map(str, row)) for row in rows]))
    if args.out:
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
