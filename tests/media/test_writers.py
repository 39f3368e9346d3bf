"""Videos and pictures read back as they were written, and are whole whatever happens."""

import errno
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmhier.media import VideoWriter, write_image
from mmhier.media import writers as module

PROGRAM = """
import os, sys
import numpy as np
from mmhier.media import VideoWriter
writer, rng = VideoWriter(sys.argv[1], 25), np.random.default_rng(0)
for _ in range(150):
    writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
os._exit(9)  # as if killed
"""


def read_back(path):
    """With OpenCV's own copy of FFmpeg: another program than the one that wrote."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (found := capture.read())[0]:
        frames.append(found[1])
    return frames, capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little')


@pytest.mark.parametrize('image_hw', [(48, 64), (49, 64), (48, 65), (49, 65)])
@pytest.mark.parametrize('fps', [25, 30000 / 1001])
def test_h264_reads_back(tmp_path, numbered, image_hw, fps, colour_error):
    with VideoWriter(tmp_path / 'clip.mp4', fps, 'av') as writer:
        for number in range(20):
            writer.write(numbered(number, image_hw))
    frames, read_fps, codec = read_back(tmp_path / 'clip.mp4')
    height, width = image_hw
    assert codec in (b'avc1', b'h264')
    assert read_fps == pytest.approx(fps, abs=0.01)
    assert [frame.shape for frame in frames] == [(height + height % 2, width + width % 2, 3)] * 20
    for number, frame in enumerate(frames):
        difference = np.abs(frame[:height, :width].astype(int) - numbered(number, image_hw))
        assert np.median(difference) <= colour_error
    assert [path.name for path in tmp_path.iterdir()] == ['clip.mp4']


def test_times_are_kept(tmp_path, numbered):
    av = pytest.importorskip('av')
    times = [0.0, 0.04, 0.2, 0.2, 1.0]  # one is missing, one stands still
    with VideoWriter(tmp_path / 'clip.mp4', 25) as writer:
        for number, time in enumerate(times):
            writer.write(numbered(number), time)
    with av.open(str(tmp_path / 'clip.mp4')) as container:
        read = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(read, times, atol=1e-3)


def test_an_interrupted_block_leaves_a_whole_video(tmp_path, numbered):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / 'clip.mp4', 25) as writer:
        for number in range(10):
            writer.write(numbered(number))
        raise KeyboardInterrupt
    assert len(read_back(tmp_path / 'clip.mp4')[0]) == 10


def test_a_killed_process_leaves_a_video_that_plays(tmp_path):
    pytest.importorskip('av')
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(tmp_path / 'clip.mp4')], capture_output=True, text=True
    )
    assert done.returncode == 9, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['clip.part.mp4']
    assert len(read_back(tmp_path / 'clip.part.mp4')[0]) >= 90


def test_opencv_steps_in_and_says_so(tmp_path, numbered, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, 'av', None)
    with VideoWriter(tmp_path / 'clip.mp4', 25) as writer:
        for number in range(10):
            writer.write(numbered(number))
    assert len(read_back(tmp_path / 'clip.mp4')[0]) == 10
    assert 'pip install av' in caplog.text
    with pytest.raises(ImportError, match='pip install av'):
        VideoWriter(tmp_path / 'other.mp4', 25, 'av').write(numbered(0))


def test_frames_of_another_size_are_refused(tmp_path, numbered):
    with VideoWriter(tmp_path / 'clip.mp4', 25) as writer:
        writer.write(numbered(0))
        with pytest.raises(ValueError, match='65 x 48 pixels in a video of 64 x 48'):
            writer.write(numbered(1, (48, 65)))


@pytest.mark.parametrize('fps', [None, 0.0, -1.0, float('nan'), 1e-6, 1e9])
def test_rates_that_are_none(tmp_path, numbered, fps):
    for times in ([None] * 3, [0, 0.1, 0.2]):
        with VideoWriter(tmp_path / 'clip.mp4', fps) as writer:
            for number, time in enumerate(times):
                writer.write(numbered(number), time)
        assert len(read_back(tmp_path / 'clip.mp4')[0]) == 3


def test_no_frames_no_file(tmp_path):
    VideoWriter(tmp_path / 'clip.mp4', 25).close()
    assert list(tmp_path.iterdir()) == []


def test_pictures(tmp_path, numbered):
    path = write_image(tmp_path / 'new' / 'picture.png', numbered(3))
    np.testing.assert_array_equal(cv2.imread(str(path)), numbered(3))
    with pytest.raises(ValueError, match=r'\.xyz'):
        write_image(tmp_path / 'picture.xyz', numbered(3))


def test_a_full_disk_leaves_the_old_picture(tmp_path, numbered, monkeypatch):
    path = write_image(tmp_path / 'picture.png', numbered(3))

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(module.Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left'):
        write_image(path, numbered(4))
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(cv2.imread(str(path)), numbered(3))
