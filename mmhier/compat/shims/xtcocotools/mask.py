"""Run-length encoded masks: ``xtcocotools.mask`` on top of faster-coco-eval."""

from faster_coco_eval.core.mask import area, decode, encode, frPyObjects, iou, merge, toBbox

__all__ = ['area', 'decode', 'encode', 'frPyObjects', 'iou', 'merge', 'toBbox']
