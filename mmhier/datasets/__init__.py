"""Data sets, ``transforms`` and ``synthetic`` people; COCO data sets are MMPose's own."""

import wrapt


def install() -> None:
    """Have MMPose read annotations with our checks as soon as it is imported. Cheap, to be called once."""
    checks = 'mmhier.datasets.host_checks'
    wrapt.register_post_import_hook(f'{checks}:check_keypoint_sets', 'mmpose.datasets.datasets.utils')
    wrapt.register_post_import_hook(f'{checks}:check_annotation_files', 'xtcocotools.coco')
    wrapt.register_post_import_hook(f'{checks}:read_every_encoding', 'mmpose.evaluation.metrics.coco_metric')
