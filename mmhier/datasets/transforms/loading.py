"""Image loading that notices a damaged file, see :mod:`mmhier.media.image_file`.

A broken copy of a data set would train and evaluate on wrong pixels. Here a damaged file is an error that
names it, or, where a run over millions of images must go on, a skip that is logged and counted.
"""

import logging
from typing import Any

from mmengine.logging import print_log
from mmpose.datasets.transforms import LoadImage
from mmpose.registry import TRANSFORMS

from mmhier.datasets.coco_pictures import describe_wrong_size
from mmhier.media.image_file import read_image


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImage):
    """MMPose's ``LoadImage`` with a check that the file is whole and has the size that its annotation says.

    Args:
        on_error: ``'raise'`` stops with an error that names the file; ``'skip'`` logs it, counts it and
            lets the data set draw another sample (training only: evaluation never drops anything).
        kwargs: See ``LoadImage``.

    Raises:
        ValueError: If ``on_error`` is neither, a file is damaged and ``on_error='raise'``, or a picture is
            not ``img_shape`` (height, width), where that is known: its labels are of other pixels.
        FileNotFoundError: If the file is missing and ``on_error='raise'``.
    """

    def __init__(self, on_error: str = 'raise', **kwargs: Any):
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        super().__init__(**kwargs)
        self.on_error = on_error
        self.skipped: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        """Add ``img`` (H, W, 3) uint8 BGR and its shapes; ``None`` asks the data set for another sample."""
        if 'img' in results:
            return super().transform(results)
        path = results['img_path']
        try:
            image = read_image(path, self.color_type, self.imdecode_backend, self.backend_args)
        except (OSError, ValueError) as error:
            if self.on_error == 'raise':
                raise
            if path not in self.skipped:
                self.skipped.add(path)
                print_log(
                    f'skipped image {len(self.skipped)} of this worker: {error}',
                    logger='current',
                    level=logging.WARNING,
                )
            return None
        expected = results.get('img_shape')
        if expected is not None and tuple(expected) != image.shape[:2]:
            sizes = tuple(expected)[::-1], path, image.shape[1::-1]
            raise ValueError(describe_wrong_size(results.get('img_id'), *sizes))
        results['img'] = image.astype('float32') if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
