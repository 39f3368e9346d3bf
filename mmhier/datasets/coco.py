"""MMPose's COCO data set with its silent moments made loud.

MMPose leaves out annotations without keypoints or box without a word, uses boxes of category 1 only, and an
annotation with another number of keypoints fails somewhere in the pipeline without its name. Here everything
that is left out is counted and logged, and what does not fit names the file and the entry. Files are read by
:mod:`mmhier.datasets.coco_file` and :mod:`mmhier.datasets.coco_boxes`.
"""

import logging
import os.path as osp

import numpy as np
from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmpose.datasets.datasets.body import CocoDataset
from mmpose.registry import DATASETS
from mmpose.structures.bbox import bbox_xywh2xyxy

from mmhier.datasets import mesh  # noqa: F401  (registers its data sets)
from mmhier.datasets.coco_boxes import read_boxes
from mmhier.datasets.coco_file import take_coco
from mmhier.datasets.coco_pictures import picture_size


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """``CocoDataset`` that checks its annotations and says how many it uses; arguments are the same.

    ``img_shape`` of a sample is what the annotation file says; :class:`LoadCheckedImage` compares it with the
    picture. An image without width and height gets those of its picture.
    """

    def load_data_list(self) -> list[dict]:
        """Load as ``CocoDataset`` does, then report.

        Raises:
            ValueError: If the file is not COCO's format, an annotation is malformed, or nothing is usable.
        """
        self._total = 0
        try:
            data_list = super().load_data_list()
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            if str(error).startswith((self.ann_file, self.bbox_file or self.ann_file)):
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
        """Parse one annotation as ``CocoDataset`` does, after checking the number of keypoints."""
        annotation, image = raw_data_info['raw_ann_info'], raw_data_info['raw_img_info']
        self._total += 1
        numbers = annotation.get('keypoints')
        count = self.metainfo['num_keypoints']
        if numbers is not None and len(numbers) != 3 * count:
            raise ValueError(
                f'{self.ann_file}: annotation {annotation.get("id")} has {len(numbers)} numbers in '
                f'keypoints, expected {3 * count} (x, y, visibility of {count} keypoints)'
            )
        height, width = self._image_shape(image)
        image.update(width=width, height=height)
        data_info = super().parse_data_info(raw_data_info)
        if data_info is not None and self.data_mode == 'topdown':
            data_info['img_shape'] = (height, width)
        return data_info

    def _image_shape(self, image: dict) -> tuple[int, int]:
        """Height and width in pixels: of the entry, or else of the picture."""
        if 'width' in image and 'height' in image:
            return image['height'], image['width']
        path = osp.join(self.data_prefix['img'], image['file_name'])
        size = picture_size(path)
        if size is None:
            raise ValueError(
                f'{self.ann_file}: image {image["id"]} has no width and height, and {path} cannot be read'
            )
        return size[::-1]

    def _load_detection_results(self) -> list[dict]:
        """Boxes of the detector as ``CocoDataset`` has them, with the category of people."""
        with get_local_path(self.ann_file) as path:
            content = take_coco(path)
        self._metainfo['CLASSES'] = content['categories']
        images = {image['id']: image for image in content['images']}
        count = self.metainfo['num_keypoints']
        with get_local_path(self.bbox_file) as path:
            boxes, _ = read_boxes(path, content)
        return [
            dict(
                img_id=box['image_id'],
                img_path=osp.join(self.data_prefix['img'], images[box['image_id']]['file_name']),
                img_shape=self._image_shape(images[box['image_id']]),
                bbox=bbox_xywh2xyxy(np.array(box['bbox'], np.float32).reshape(1, 4)),
                bbox_score=np.array(box['score'], np.float32).reshape(1),
                keypoints=np.zeros((1, count, 2), np.float32),
                keypoints_visible=np.ones((1, count), np.float32),
                category_id=np.array(box['category_id']),
                id=number,
            )
            for number, box in enumerate(boxes)
        ]
