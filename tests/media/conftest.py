import cv2
import numpy as np
import pytest

from mmhier.media import VideoWriter


def picture(number: int, image_hw=(48, 64)) -> np.ndarray:
    """A frame whose brightness is its number."""
    image = np.full((*image_hw, 3), 40 + 4 * number, np.uint8)
    image[: image_hw[0] // 4, : image_hw[1] // 4] = (0, 0, 255)
    return image


@pytest.fixture
def numbered():
    return picture


@pytest.fixture
def video(tmp_path):
    """Thirty frames at 20 per second."""
    pytest.importorskip('av')
    path = tmp_path / 'clip.mp4'
    with VideoWriter(path, 20) as writer:
        for number in range(30):
            writer.write(picture(number))
    return path


@pytest.fixture
def noisy_video(tmp_path):
    """Two hundred frames that hardly compress, so that damage in the middle hits pictures."""
    pytest.importorskip('av')
    path, rng = tmp_path / 'noise.mp4', np.random.default_rng(0)
    with VideoWriter(path, 25) as writer:
        for _ in range(200):
            writer.write(cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (64, 48)))
    return path


@pytest.fixture
def corrupt_video(noisy_video):
    content = bytearray(noisy_video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tobytes()
    path = noisy_video.with_name('corrupt.mp4')
    path.write_bytes(content)
    return path


@pytest.fixture(scope='session')
def colour_error():
    """How far colours may be off after a round trip through H.264, of 255.

    PyAV before 18 converts colours the fast way only, which is off by up to 4 itself.
    """
    reformatter = pytest.importorskip('av.video.reformatter')
    return 2 if hasattr(reformatter.Interpolation, 'ACCURATE_RND') else 4
