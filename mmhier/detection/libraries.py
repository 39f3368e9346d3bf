"""Detectors of other libraries: torchvision (BSD) and MMDetection (Apache-2.0), where they are installed."""

from collections import Counter
from pathlib import Path

import numpy as np

from mmhier.detection.detector import Detections, check_image, clip_to_image, count_others, select
from mmhier.network import DownloadError, downloading
from mmhier.suggestions import similar_path

TORCHVISION_PERSON = 1  # in torchvision's list of COCO's classes, where 0 is the background


class TorchvisionDetector:
    """A detection model of torchvision, trained on COCO.

    Args:
        name: As in ``torchvision.models.list_models(module=torchvision.models.detection)``.
        weights: File with a state dictionary; by default torchvision's released weights, which it downloads.
        score_threshold: Boxes with a lower score are dropped.
        device: Where it runs.

    Raises:
        FileNotFoundError: If there is no such file of weights.
        ImportError: If torchvision is not installed.
        ValueError: If it has no such model, or its weights cannot be had.
    """

    def __init__(
        self,
        name: str = 'fasterrcnn_resnet50_fpn_v2',
        weights: str | Path | None = None,
        score_threshold: float = 0.3,
        device: str = 'cpu',
    ):
        try:
            from torchvision.models import detection, get_model, list_models
        except (ImportError, RuntimeError) as error:  # the latter with a torch of another version
            raise ImportError(
                f'detector torchvision:{name} needs the torchvision that belongs to the installed torch '
                f'({error}): pip install torchvision'
            ) from error
        known = list_models(module=detection)
        if name not in known:
            raise ValueError(f'torchvision has no detection model {name!r}: it has {", ".join(known)}')
        if weights is None:
            remedy = f"give a file, detector=dict(type='torchvision', name='{name}', weights=FILE)"
            try:
                with downloading(f'the weights of torchvision:{name}', remedy):
                    model = get_model(name, weights='DEFAULT')
            except RuntimeError as error:  # of torch.hub
                if 'invalid hash' not in str(error):
                    raise
                raise DownloadError(
                    f'torchvision:{name} is downloaded damaged ({error}): {remedy}'
                ) from error
        elif not Path(weights).is_file():
            raise FileNotFoundError(
                f'{weights}: there is no such file of weights for torchvision:{name}{similar_path(weights)}'
            )
        else:
            model = get_model(name, weights=None, weights_backbone=None)
            _load_weights(model, weights, name)
        self.score_threshold = score_threshold
        self.left_out: Counter[str] = Counter()
        self.device = device
        self._model = model.eval().to(device)

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """See :class:`Detector`."""
        import torch

        rgb = np.ascontiguousarray(check_image(image)[..., ::-1])
        tensor = torch.from_numpy(rgb).to(self.device).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            found = {key: value.cpu().numpy() for key, value in self._model([tensor])[0].items()}
        people = found['labels'] == TORCHVISION_PERSON
        count_others(self.left_out, found['scores'][~people], self.score_threshold)
        boxes, scores = select(found['boxes'][people], found['scores'][people], self.score_threshold)
        return clip_to_image(boxes, scores, image)


def _load_weights(model, weights: str | Path, name: str) -> None:
    """Fill a model of torchvision from a file."""
    from mmhier.compat.checkpoint import load_checkpoint_file

    try:
        model.load_state_dict(load_checkpoint_file(weights))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f'{weights} does not fit torchvision:{name} ({error})') from error


class MMDetDetector:
    """A model of MMDetection.

    Args:
        config: Its configuration file.
        weights: Its checkpoint.
        score_threshold: Boxes with a lower score are dropped.
        device: Where it runs.

    Raises:
        FileNotFoundError: If a file is missing.
        ImportError: If MMDetection is not installed, or not usable.
        ValueError: If the model knows no class 'person'.
    """

    def __init__(
        self, config: str | Path, weights: str | Path, score_threshold: float = 0.3, device: str = 'cpu'
    ):
        try:
            from mmdet.apis import inference_detector, init_detector
        except ImportError as error:
            raise ImportError(
                f'detector mmdet:{config} needs MMDetection ({error}): pip install mmdet "mmcv-lite<2.2", or '
                'use an ONNX file of the same model'
            ) from error
        for path in (config, weights):
            if not Path(path).is_file():
                raise FileNotFoundError(
                    f'{path}: there is no such file for the mmdet detector{similar_path(path)}'
                )
        self.score_threshold = score_threshold
        self.left_out: Counter[str] = Counter()
        self._inference = inference_detector
        with _mmdet_scope():
            self._model = init_detector(str(config), str(weights), device=device)
        classes = list((self._model.dataset_meta or {}).get('classes', ()))
        if 'person' not in classes:
            raise ValueError(f"{weights} knows no class 'person', but {', '.join(classes) or 'none'}")
        self._person = classes.index('person')

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """See :class:`Detector`."""
        with _mmdet_scope():
            found = self._inference(self._model, check_image(image)).pred_instances
        boxes, scores, labels = (array.cpu().numpy() for array in (found.bboxes, found.scores, found.labels))
        people = labels == self._person
        count_others(self.left_out, scores[~people], self.score_threshold)
        boxes, scores = select(boxes[people], scores[people], self.score_threshold)
        return clip_to_image(boxes, scores, image)


def _mmdet_scope():
    """MMDetection's registries come first while it builds or runs; MMPose's do again afterwards."""
    from mmengine.registry import DefaultScope

    return DefaultScope.overwrite_default_scope('mmdet')
