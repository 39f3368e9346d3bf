"""Where people are in an image: boxes from a file, a function, a detector, or the whole image."""

from mmhier.detection.detector import Detector
from mmhier.detection.loading import load_detector

__all__ = ['Detector', 'load_detector']
