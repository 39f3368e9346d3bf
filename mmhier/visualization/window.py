"""A window on the screen."""

import cv2
import numpy as np

_TITLE = 'mmhier (q: stop)'


class Window:
    """Shows pictures one after the other.

    Raises:
        ImportError: If there is no display, or the installed OpenCV opens no windows.
    """

    def __init__(self):
        try:
            cv2.namedWindow(_TITLE)
        except cv2.error:
            raise ImportError(
                '--show needs a display, and an OpenCV that opens windows: pip uninstall '
                'opencv-python-headless; pip install opencv-python'
            ) from None

    def show(self, picture: np.ndarray, wait: bool) -> bool:
        """Show a picture.

        Args:
            picture: (H, W, 3) BGR.
            wait: For a key.

        Returns:
            False if the user has had enough.
        """
        cv2.imshow(_TITLE, picture)
        return cv2.waitKey(0 if wait else 1) & 0xFF not in (ord('q'), 27)
