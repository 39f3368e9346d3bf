"""What ``--detector-stride`` gains and costs: a person walks, the detector looks at every N-th frame only.

Speed: a network of YOLOX-S's layout with random weights (the default detector's cost, see yolox.py) through
onnxruntime, and a pose model of random weights on the box of one person, in one process; strides take turns.
Times are those of the processor, one thread each, medians; decoding is in them. As random weights find
nobody, boxes and keypoints are put in the place of what they find.

Accuracy: on the frames in between the box is where the tracker expects the person. The walks are those of
mmhier/datasets/synthetic/walking.py, boxes of the detector are the true ones, and the pose model is taken
to be exact but for keypoints outside of its crop, which it puts on the crop's border. IoU is of the boxes
with the true ones, OKS of the keypoints, of all walks; what else a trained network loses by a box that fits
less is not in it.

    OMP_NUM_THREADS=1 python tools/benchmark/detector_stride.py --out docs/benchmarks/detector_stride.csv
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
import torch
from rows import add_rows
from yolox import write_random_detector

from mmhier.apis import Inferencer, load_body_model
from mmhier.datasets.synthetic.walking import WALKS, walk
from mmhier.detection import load_detector
from mmhier.geometry.similarity import COCO_SIGMAS, box_iou, object_keypoint_similarity
from mmhier.inference.crops import Crop
from mmhier.inference.estimators import Pose
from mmhier.media import VideoWriter
from mmhier.tables import markdown
from mmhier.testing.walks import seen_by_network

IMAGE_HW = (480, 640)
FOCAL = 600.0  # pixels
FIELDS = (
    'stride',
    'model',
    'detector_ms',
    'frame_ms',
    'per_second',
    'gain',
    'frames',
    'box_iou',
    'least_box_iou',
    'oks',
    'least_oks',
)


class Clip(NamedTuple):
    """Somebody who walks: boxes (T, 4) and keypoints (T, 17, 2), pixels."""

    boxes: np.ndarray
    keypoints: np.ndarray


def clips() -> list[Clip]:
    """All walks, as a camera of FOCAL sees them."""
    body = load_body_model('open', 'coco17')
    made = []
    for options in WALKS.values():
        truth = walk(body, focal=FOCAL, image_hw=IMAGE_HW, **options)
        joints = truth.posed(body).joints.double().numpy()
        middle = np.array(IMAGE_HW[::-1]) / 2
        keypoints = FOCAL * joints[..., :2] / joints[..., 2:] + middle
        made.append(Clip(np.stack([one.box for one in seen_by_network(truth, body)]), keypoints))
    return made


class Exact:
    """Stands in for reading the poses of the one person of each frame, in the order of the frames."""

    def __init__(self, clip: Clip):
        self.clip, self.number = clip, 0

    def __call__(self, outputs: dict, crops: Sequence[Crop], *_) -> list[Pose]:
        """The true keypoints, those outside of the crop moved to its border."""
        poses = []
        for crop in crops:
            inside = (crop.center - crop.size / 2, crop.center + crop.size / 2)
            keypoints = self.clip.keypoints[self.number].clip(*inside).astype(np.float32)
            poses.append(Pose(keypoints, np.ones(len(keypoints), np.float32)))
            self.number += 1
        return poses


def run(inferencer: Inferencer, clip: Clip, video: Path, stride: int, detector=None) -> tuple[float, list]:
    """Seconds of the processor, and the boxes and keypoints of each frame, of one way through a clip.

    Args:
        inferencer: Of a pose model.
        clip: What is to be found.
        video: Frames of it.
        stride: Of the detector.
        detector: What takes the time of one; by default nothing does.
    """

    def look(image: np.ndarray, source: str, frame_index: int) -> np.ndarray:
        if detector is not None:
            detector(image)
        return clip.boxes[frame_index : frame_index + 1]

    inferencer.detector = load_detector(look)
    inferencer.detector_stride, inferencer.track = stride, True
    inferencer.estimator.poses = Exact(clip)
    start = time.process_time()
    found = [(result.people[0].bbox, result.people[0].keypoints) for result in inferencer(video)]
    return time.process_time() - start, found


def write_video(path: Path, frames: int) -> Path:
    """Noise that changes slowly, so that decoding costs what it does."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (12, 16, 3), np.uint8), np.ones((40, 40, 1), np.uint8))
    with VideoWriter(path, 30) as writer:
        for number in range(frames):
            writer.write(np.roll(picture, 2 * number, axis=1))
    return path


def accuracy(inferencer: Inferencer, made: list[Clip], stride: int, video: Path) -> tuple[np.ndarray, ...]:
    """IoU and OKS of every frame of all clips."""
    ious, similarities = [], []
    for clip in made:
        write_video(video, len(clip.boxes))
        for number, (box, keypoints) in enumerate(run(inferencer, clip, video, stride)[1]):
            true = clip.boxes[number : number + 1]
            area = (true[:, 2:] - true[:, :2]).prod(axis=1)
            ious.append(box_iou(true, box[None])[0, 0])
            similarities.append(
                object_keypoint_similarity(clip.keypoints[number][None], keypoints[None], area, COCO_SIGMAS)[
                    0
                ]
            )
    return np.array(ious), np.array(similarities)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--strides', type=int, nargs='+', default=[1, 2, 4])
    parser.add_argument('--model', default='vitpose_s', help='default: that of mmhier infer')
    parser.add_argument('--frames', type=int, default=16, help='that are timed')
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('--out', type=Path, help='CSV file to write')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    made = clips()
    inferencer = Inferencer(args.model, weights='random')
    network = inferencer.estimator.network
    with tempfile.TemporaryDirectory() as folder:
        path = str(write_random_detector(Path(folder) / 'yolox.onnx'))
        detector = load_detector(dict(type='onnx', path=path, threads=1))
        video = write_video(Path(folder) / 'clip.mp4', args.frames)
        image = np.zeros((*IMAGE_HW, 3), np.uint8)
        seconds = {stride: [] for stride in args.strides}
        alone = []
        for number in range(args.runs + 1):  # the first warms up
            for stride in args.strides:
                spent, _ = run(inferencer, made[0], video, stride, detector)
                seconds[stride] += [spent] if number else []
            start = time.process_time()
            detector(image)
            alone += [time.process_time() - start] if number else []
        inferencer.estimator.network = lambda crops: {}  # what follows needs none
        errors = {s: accuracy(inferencer, made, s, Path(folder) / 'walk.mp4') for s in args.strides}
        inferencer.estimator.network = network
    first, rows = median(seconds[args.strides[0]]), []
    for stride in args.strides:
        frame = median(seconds[stride]) / args.frames
        ious, similarities = errors[stride]
        speed = (1e3 * median(alone), 1e3 * frame, 1 / frame, first / median(seconds[stride]))
        figures = [f'{value:.{places}f}' for value, places in zip(speed, (1, 1, 1, 2))]
        found = [f'{v:.3f}' for v in (ious.mean(), ious.min(), similarities.mean(), similarities.min())]
        rows.append((stride, args.model, *figures, len(ious), *found))
    print(markdown(FIELDS, [tuple(map(str, row)) for row in rows]))
    if args.out:
        args.out.unlink(missing_ok=True)
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
