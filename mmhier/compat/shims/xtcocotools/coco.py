"""The index over a COCO annotation file: ``xtcocotools.coco`` on top of faster-coco-eval."""

from os import PathLike

import numpy as np
from faster_coco_eval import COCO as FasterCOCO

from mmhier.safe_files import read_json

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
        super().__init__(_read(annotation_file) if ann_data is None else ann_data)
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


def _read(annotation_file: str | PathLike | dict | None) -> dict | None:
    """Read a JSON file; say which one if it is not JSON."""
    if annotation_file is None or isinstance(annotation_file, dict):
        return annotation_file
    return read_json(annotation_file)
