"""MMPose's COCO data set with its silent moments made loud.

MMPose leaves out annotations without keypoints or box without a word, and an annotation with another number
of keypoints fails somewhere in the pipeline without its name. Here the first is counted and logged, the
second names the file and the annotation.
"""

import logging
import math

from mmengine.logging import print_log
from mmpose.datasets.datasets.body import CocoDataset
from mmpose.registry import DATASETS

from mmhier.datasets import mesh  # noqa: F401  (registers its data sets)


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """``CocoDataset`` that checks its annotations and says how many it uses; arguments are the same."""

    def load_data_list(self) -> list[dict]:
        """Load as ``CocoDataset`` does, then report.

        Raises:
            ValueError: If the file is not COCO's format, an annotation is malformed, or nothing is usable.
        """
        self._total = 0
        try:
            data_list = super().load_data_list()
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            if str(error).startswith(self.ann_file):
                raise
            source = (
                self.ann_file if not self.bbox_file else f'{self.ann_file} with boxes from {self.bbox_file}'
            )
            detail = f'{type(error).__name__}: {error}'
            raise ValueError(f"{source} cannot be read as COCO's keypoint format ({detail})") from error
        if not data_list:
            raise ValueError(
                f'{self.ann_file} holds no usable person: {self._total} annotations, none with a box and '
                'a labelled keypoint'
            )
        if not self.bbox_file:
            skipped = self._total - len(data_list)
            text = f'{self.ann_file}: {len(data_list)} of {self._total} annotated people are used'
            reason = f'; {skipped} have no box, no labelled keypoint, or are crowds' if skipped else ''
            print_log(text + reason, logger='current', level=logging.INFO)
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict | None:
        """Parse one annotation as ``CocoDataset`` does, after checking its numbers."""
        annotation = raw_data_info['raw_ann_info']
        self._total += 1
        numbers = annotation.get('keypoints')
        count = self.metainfo['num_keypoints']
        name = f'{self.ann_file}: annotation {annotation.get("id")}'
        if numbers is not None and len(numbers) != 3 * count:
            raise ValueError(
                f'{name} has {len(numbers)} numbers in keypoints, expected {3 * count} (x, y, visibility of '
                f'{count} keypoints)'
            )
        if not all(math.isfinite(number) for number in [*(numbers or ()), *annotation.get('bbox', ())]):
            raise ValueError(f'{name} has a coordinate that is not a finite number')
        return super().parse_data_info(raw_data_info)
