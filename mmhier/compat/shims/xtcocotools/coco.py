"""The index over a COCO annotation file: ``xtcocotools.coco`` on top of faster-coco-eval.

What a file holds is given to it by :mod:`mmhier.datasets.host_checks`, read, checked and repaired.
"""

from os import PathLike

import numpy as np
from faster_coco_eval import COCO as FasterCOCO

__all__ = ['COCO']


class COCO(FasterCOCO):
    """COCO annotations, as xtcocotools reads them.

    Args:
        annotation_file (str, optional): Path of the annotations.
        test_index (Sequence[int], optional): Keypoints to keep, in this order. Default: all.
        ann_data (dict, optional): The content of ``annotation_file``, if it has been read already.

    Attributes:
        anno_file (list): The annotation file and, after :meth:`loadRes`, the first result file.
    """

    def __init__(
        self,
        annotation_file: str | PathLike | None = None,
        test_index: list[int] | None = None,
        ann_data: dict | None = None,
    ) -> None:
        self.anno_file = [annotation_file]
        self.test_index = test_index
        super().__init__(annotation_file if ann_data is None else ann_data)
        self.annotation_file = annotation_file

    def createIndex(self) -> None:
        """Index the annotations; each gets ``iscrowd`` if it has none, and keeps only ``test_index``."""
        for annotation in self.dataset.get('annotations', []):
            annotation.setdefault('iscrowd', 0)
            if self.test_index is not None:
                keypoints = np.reshape(annotation['keypoints'], (-1, 3))[self.test_index]
                annotation['keypoints'] = keypoints.ravel().tolist()
        super().createIndex()

    def loadRes(self, resFile: str | list | np.ndarray, resData: list | None = None) -> FasterCOCO:
        """Make a COCO object of results: a file, its content, or an array."""
        if len(self.anno_file) == 1:
            self.anno_file.append(resFile)
        return super().loadRes(resFile if resData is None else resData)
