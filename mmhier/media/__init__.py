"""Pictures and videos: frames from files, folders, arrays and cameras, and files from frames."""

from mmhier.media.frames import Frame, Skip, Source, to_bgr
from mmhier.media.stream import FrameStream
from mmhier.media.writers import VideoWriter, write_image

__all__ = ['Frame', 'FrameStream', 'Skip', 'Source', 'VideoWriter', 'to_bgr', 'write_image']
