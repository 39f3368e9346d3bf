"""Our readers and checks of annotations where MMPose, its metrics and xtcocotools read files unchecked."""

import functools
import os.path as osp
from os import PathLike
from types import ModuleType
from typing import Any

from mmhier.datasets.coco_file import read_large_json, take_coco


def check_keypoint_sets(module: ModuleType) -> None:
    """Let MMPose check a description of keypoints when it reads one, in training as in inference."""
    original = module.parse_pose_metainfo

    @functools.wraps(original)
    def parse_pose_metainfo(metainfo: dict) -> dict:
        from mmhier.datasets.keypoint_set import check_keypoint_set

        check_keypoint_set(metainfo, 'metainfo')
        return original(metainfo)

    module.parse_pose_metainfo = parse_pose_metainfo


def check_annotation_files(module: ModuleType) -> None:
    """Let xtcocotools, ours or a real one, index the checked and repaired content of annotation files."""
    original = module.COCO.__init__

    @functools.wraps(original)
    def __init__(
        self: Any, annotation_file: Any = None, test_index: Any = None, ann_data: dict | None = None
    ) -> None:
        if ann_data is None and isinstance(annotation_file, str | PathLike):
            ann_data = take_coco(annotation_file)
        original(self, annotation_file, test_index, ann_data)

    module.COCO.__init__ = __init__


def read_every_encoding(module: ModuleType) -> None:
    """Let MMPose's COCO metric open what the data sets can, such as a file with a byte order mark."""
    original = module.load

    @functools.wraps(original)
    def load(file: Any, *args: Any, **kwargs: Any) -> Any:
        return read_large_json(file) if osp.isfile(file) else original(file, *args, **kwargs)

    module.load = load
