"""Small data for tests, shipped with the package so that plugins of mmhier can test with it, too."""

from mmhier.testing.coco import write_dot_people

__all__ = ['write_dot_people']
