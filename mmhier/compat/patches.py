"""Lines of the stock MMPose and MMEngine that fail today, that cost seconds, or that read files unchecked."""

import functools
import os.path as osp
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt


def accept_radius_arrays(module: ModuleType) -> None:
    """Let MMPose draw circles with OpenCV under numpy >= 2.4.

    It passes the radius as an array of one number and calls ``int`` on it, which is an error now. Unnecessary
    once ``mmpose/visualization/opencv_backend_visualizer.py`` takes the number out of its array.
    """
    visualizer = module.OpencvBackendVisualizer
    original = visualizer.draw_circles

    @functools.wraps(original)
    def draw_circles(self: Any, center: Any, radius: Any, *args: Any, **kwargs: Any) -> Any:
        if self.backend == 'opencv' and getattr(radius, 'ndim', 0):
            radius = radius.item()
        return original(self, center, radius, *args, **kwargs)

    visualizer.draw_circles = draw_circles


def format_configs_once(module: ModuleType) -> None:
    """Let MMEngine lay out the text of a config once per start.

    It asks for the same text four times, and for a mix of data sets each takes a second or more. Unnecessary
    once ``mmengine/config/config.py`` keeps ``pretty_text``.
    """
    original = module.FormatCode
    latest: dict[tuple[str, str], Any] = {}

    @functools.wraps(original)
    def format_code(source: str, **options: Any) -> Any:
        key = source, repr(options)
        if key not in latest:
            latest.clear()
            latest[key] = original(source, **options)
        return latest[key]

    module.FormatCode = format_code


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
    """Let a real xtcocotools read annotation files as our stand-in does."""
    if module.__file__ == str(Path(__file__).parent / 'shims' / 'xtcocotools' / 'coco.py'):
        return
    original = module.COCO.__init__

    @functools.wraps(original)
    def __init__(
        self: Any, annotation_file: Any = None, test_index: Any = None, ann_data: dict | None = None
    ) -> None:
        if ann_data is None and isinstance(annotation_file, str | PathLike):
            from mmhier.datasets.coco_file import take_coco

            ann_data = take_coco(annotation_file)
        original(self, annotation_file, test_index, ann_data)

    module.COCO.__init__ = __init__


def read_every_encoding(module: ModuleType) -> None:
    """Let MMPose's COCO metric open what the data sets can, such as a file with a byte order mark."""
    original = module.load

    @functools.wraps(original)
    def load(file: Any, *args: Any, **kwargs: Any) -> Any:
        from mmhier.datasets.coco_file import read_large_json

        return read_large_json(file) if osp.isfile(file) else original(file, *args, **kwargs)

    module.load = load


def name_failed_downloads(module: ModuleType) -> None:
    """Let MMEngine say which file it cannot download, not wait for it for ever, and read annotations so."""
    for name in ('get', 'get_text'):
        original = getattr(module.HTTPBackend, name)

        @functools.wraps(original)
        def get(self: Any, filepath: str, *args: Any, original: Any = original, **kwargs: Any) -> Any:
            from mmhier.network import downloading

            with downloading(filepath, 'fetch it elsewhere and give the name of the file'):
                return original(self, filepath, *args, **kwargs)

        setattr(module.HTTPBackend, name, get)
    # MMPose asks before it reads annotations; MMEngine's backend has no answer. Reading tells.
    module.HTTPBackend.exists = lambda self, filepath: True


def install() -> None:
    """Apply each patch when the module it belongs to is imported, or now if it has been."""
    wrapt.register_post_import_hook(format_configs_once, 'mmengine.config.config')
    wrapt.register_post_import_hook(check_keypoint_sets, 'mmpose.datasets.datasets.utils')
    wrapt.register_post_import_hook(check_annotation_files, 'xtcocotools.coco')
    wrapt.register_post_import_hook(read_every_encoding, 'mmpose.evaluation.metrics.coco_metric')
    wrapt.register_post_import_hook(name_failed_downloads, 'mmengine.fileio.backends.http_backend')
    wrapt.register_post_import_hook(accept_radius_arrays, 'mmpose.visualization.opencv_backend_visualizer')
