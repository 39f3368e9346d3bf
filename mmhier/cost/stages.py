"""Where the time of a pose pipeline goes, from the bytes of a picture to keypoints."""

import copy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import nn

from mmhier.cost.latency import Timing, time_in_turns

STAGES = ('decode', 'crop', 'normalise', 'encoder', 'neck', 'decoder', 'post-processing')
_PICTURE_HW = (480, 640)


def sample_picture(seed: int = 0) -> bytes:
    """Make a JPEG of 640 x 480 pixels, smooth with some noise, as photographs are."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
    picture = cv2.resize(coarse, _PICTURE_HW[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
    picture = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    return cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def time_stages(
    path: str | Path, model: nn.Module, batch: int, runs: int, device: str = 'cpu'
) -> dict[str, Timing]:
    """Time the stages of a pose model for a batch of one-person pictures, boxes given.

    Args:
        path: Config of the model; its validation pipeline cuts the crops.
        model: The model, on ``device``.
        batch: Pictures at a time.
        runs: Timed runs of each stage, in turns.
        device: Where the network runs.

    Returns:
        Seconds per batch of each of :data:`STAGES`.
    """
    cfg = Config.fromfile(path)
    crop = Compose(cfg.val_dataloader.dataset.pipeline[1:])  # all but the loading
    codes = np.frombuffer(sample_picture(), np.uint8)
    picture = cv2.imdecode(codes, cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    box = np.array([[0.3 * width, 0.1 * height, 0.6 * width, 0.9 * height]], np.float32)
    known = dict(
        img_id=0, img_path='', bbox=box, bbox_score=np.ones(1, np.float32), flip_indices=list(range(17))
    )
    known |= dict(ori_shape=(height, width), img_shape=(height, width), id=0, category_id=1)

    def cut() -> list[dict]:
        return [crop(dict(copy.deepcopy(known), img=picture)) for _ in range(batch)]

    def normalise() -> torch.Tensor:
        return model.data_preprocessor(pseudo_collate(crops), False)['inputs']

    crops = cut()
    with torch.inference_mode():
        images = normalise()
        maps = model.backbone(images)
        features = model.neck(maps) if model.with_neck else maps
        heatmaps = model.head.forward(features)
    calls: dict[str, Callable[[], object]] = {
        'decode': lambda: [cv2.imdecode(codes, cv2.IMREAD_COLOR) for _ in range(batch)],
        'crop': cut,
        'normalise': normalise,
        'encoder': lambda: model.backbone(images),
        'neck': lambda: model.neck(maps) if model.with_neck else maps,
        'decoder': lambda: model.head.forward(features),
        'post-processing': lambda: model.head.decode(heatmaps),
    }
    with torch.inference_mode():
        timings = time_in_turns(list(calls.values()), runs, device)
    return dict(zip(calls, timings, strict=True))
