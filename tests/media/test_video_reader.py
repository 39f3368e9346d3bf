"""Videos are read to the end, with times, upright, and past damage."""

from fractions import Fraction

import numpy as np
import pytest

from mmhier.media import video_reader
from mmhier.media.video_reader import read_video, video_info


def read(path):
    problems = []
    frames = list(read_video(path, lambda reason, count: problems.append((reason, count))))
    return frames, problems


def test_frames_come_in_order_with_their_times(video):
    frames, problems = read(video)
    assert problems == []
    assert len(frames) == 30 == video_info(video).length
    assert video_info(video).fps == 20
    np.testing.assert_allclose([time for _, time in frames], np.arange(30) / 20, atol=1e-6)
    brightness = [image[30, 40].mean() for image, _ in frames]
    np.testing.assert_allclose(brightness, 40 + 4 * np.arange(30), atol=2)
    assert frames[0][0][2, 2, 2] > 200  # red, in BGR


def test_both_libraries_read_the_same(video, monkeypatch):
    with_av, _ = read(video)
    monkeypatch.setattr(video_reader, '_import_av', lambda: None)
    assert video_info(video) == (20, 30)
    with_opencv, problems = read(video)
    assert problems == [] and len(with_opencv) == len(with_av)
    for (one, time), (other, other_time) in zip(with_av, with_opencv):
        assert np.median(np.abs(one.astype(int) - other)) <= 4
        assert time == pytest.approx(other_time, abs=1e-6)


def test_damage_in_the_middle_is_passed_over_and_counted(corrupt_video):
    frames, problems = read(corrupt_video)
    assert sum(count for _, count in problems) > 0
    assert 100 < len(frames) <= 200
    assert frames[-1][1] == pytest.approx(199 / 25, abs=1e-6)  # the end of the file was reached


def test_opencv_passes_or_counts_damage(corrupt_video, monkeypatch):
    monkeypatch.setattr(video_reader, '_import_av', lambda: None)
    frames, problems = read(corrupt_video)
    assert len(frames) + sum(count for _, count in problems) == 200


@pytest.mark.parametrize('library', ['av', 'opencv'])
def test_what_is_no_video_is_an_error(tmp_path, library, monkeypatch):
    if library == 'opencv':
        monkeypatch.setattr(video_reader, '_import_av', lambda: None)
    path = tmp_path / 'text.mp4'
    path.write_text('this is no video')
    for function in (video_info, lambda path: read(path)):
        with pytest.raises(ValueError, match='text.mp4.*cannot be opened'):
            function(path)
        with pytest.raises(FileNotFoundError, match='absent.mp4'):
            function(tmp_path / 'absent.mp4')


def test_sound_alone_is_no_video(tmp_path):
    av = pytest.importorskip('av')
    path = tmp_path / 'sound.wav'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format='s16', layout='mono')
        frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    with pytest.raises(ValueError, match='no video stream'):
        video_info(path)


@pytest.mark.parametrize('degrees', [0, 90, 180, 270, -90])
def test_turned_pictures_are_set_upright(degrees):
    """A picture that is to be shown turned counter-clockwise by 90 degrees has its right edge at the top."""
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    upright = video_reader._upright(image, degrees)
    expected = {0: image, 90: image.transpose(1, 0, 2)[::-1], 180: image[::-1, ::-1]}
    expected |= {270: image.transpose(1, 0, 2)[:, ::-1]}
    np.testing.assert_array_equal(upright, expected[degrees % 360])
