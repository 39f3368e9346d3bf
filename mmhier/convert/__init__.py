"""State dictionaries of other projects -> those of mmhier, by literal key tables and shape rules."""

from mmhier.convert.swin import Converted, Report, convert_swin, detect_swin_format, fit_swin, load_swin

__all__ = ['Converted', 'Report', 'convert_swin', 'detect_swin_format', 'fit_swin', 'load_swin']
