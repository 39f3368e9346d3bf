"""A window shows what it is given until the user has had enough; without a display that is said."""

import cv2
import numpy as np
import pytest

from mmhier.visualization.window import Window


def test_it_shows_until_a_key_ends_it(monkeypatch):
    shown, waited, keys = [], [], [-1, ord('x'), ord('q'), 27]
    monkeypatch.setattr(cv2, 'namedWindow', lambda title: None)
    monkeypatch.setattr(cv2, 'imshow', lambda title, picture: shown.append(picture))
    monkeypatch.setattr(cv2, 'waitKey', lambda delay: waited.append(delay) or keys.pop(0))
    window, picture = Window(), np.zeros((4, 6, 3), np.uint8)
    assert [window.show(picture, wait) for wait in (False, True, True, False)] == [True, True, False, False]
    assert len(shown) == 4 and shown[0] is picture and waited == [1, 0, 0, 1]


def test_no_display_is_said(monkeypatch):
    def fail(title):
        raise cv2.error('no GUI')

    monkeypatch.setattr(cv2, 'namedWindow', fail)
    with pytest.raises(ImportError, match='needs a display, .* pip install opencv-python'):
        Window()
