"""Where the time of ``mmhier infer`` goes on a video whose boxes are given, and how much the network has.

A video is made, read back and inferred in one process, eager and with random weights; the table has the
seconds of each stage per frame and its share of the wall time. Decoding runs beside the network: ``frames``
is the time in which the network waits for it. Repeated runs take turns; the one of median wall time is shown.

    python tools/benchmark/infer_speed.py --models swinpose_s_s3 --batches 1 8 --out infer_speed.csv
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rows import add_rows

from mmhier.cost.stages import sample_picture
from mmhier.inference.inferencer import STAGES, Inferencer
from mmhier.media import VideoWriter
from mmhier.results.writer import ResultWriter
from mmhier.tables import markdown


def make_video(path: Path, frames: int, image_wh: tuple[int, int]) -> list[list[float]]:
    """Write a video of a picture that drifts; return the box of its one person."""
    picture = cv2.imdecode(np.frombuffer(sample_picture(), np.uint8), cv2.IMREAD_COLOR)
    width, height = image_wh
    picture = cv2.resize(picture, image_wh)
    with VideoWriter(path, 25) as writer:
        for number in range(frames):
            writer.write(np.roll(picture, 2 * number, axis=1))
    return [[0.35 * width, 0.1 * height, 0.65 * width, 0.9 * height]]


def run(inferencer: Inferencer, video: Path, boxes: list, kinds: list[str]) -> dict[str, float]:
    """Seconds of every stage, of writing, and of the whole run."""
    start = time.perf_counter()
    seconds = {'files': 0.0}
    with tempfile.TemporaryDirectory() as folder:
        writer = ResultWriter(folder, kinds) if kinds else None
        inference = inferencer(video, boxes)
        for result in inference:
            begin = time.perf_counter()
            if writer is not None:
                writer.write(result)
            seconds['files'] += time.perf_counter() - begin
        begin = time.perf_counter()
        if writer is not None:
            writer.close()
        seconds['files'] += time.perf_counter() - begin
    return {**inference.seconds, **seconds, 'wall': time.perf_counter() - start}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--models', nargs='+', default=['swinpose_s_s3'])
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 8])
    parser.add_argument('--frames', type=int, default=48)
    parser.add_argument('--image', type=int, nargs=2, default=(640, 480), metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('--save', default='none', help='kinds of files to write, as for mmhier infer')
    parser.add_argument('--engine', default='eager')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    kinds = [] if args.save == 'none' else args.save.split(',')
    inferencers = {
        (model, batch): Inferencer(model, 'random', args.device, args.engine, batch_size=batch)
        for model in args.models
        for batch in args.batches
    }
    measured: dict[tuple[str, int], list[dict[str, float]]] = {case: [] for case in inferencers}
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / 'clip.mp4'
        boxes = make_video(video, args.frames, tuple(args.image))
        for inferencer in inferencers.values():
            run(inferencer, video, boxes, kinds)  # warms up
        for _ in range(args.runs):
            for case, inferencer in inferencers.items():
                measured[case].append(run(inferencer, video, boxes, kinds))
    rows = []
    for (model, batch), runs in measured.items():
        seconds = sorted(runs, key=lambda one: one['wall'])[len(runs) // 2]
        stages = [f'{1e3 * seconds[name] / args.frames:.2f}' for name in (*STAGES, 'files', 'wall')]
        rows.append((f'`{model}`', str(batch), *stages, f'{seconds["network"] / seconds["wall"]:.1%}'))
    width, height = args.image
    print(
        f'{args.frames} frames of {width} x {height}, H.264, one person each, box given; {args.engine}, '
        f'{torch.get_num_threads()} threads; saved: {args.save}. Milliseconds per frame:\n'
    )
    header = ('Model', 'Batch', *STAGES, 'files', 'wall', 'in the network')
    print(markdown(header, rows))
    if args.out:
        conditions = (args.engine, torch.get_num_threads(), args.save.replace(',', '+'), *args.image)
        fields = ('engine', 'threads', 'saved', 'width', 'height', 'model', 'batch', *STAGES, 'files', 'wall')
        lines = [(*conditions, name.strip('`'), *numbers) for name, *numbers in rows]
        add_rows(args.out, (*fields, 'in_the_network'), lines)


if __name__ == '__main__':
    main()
