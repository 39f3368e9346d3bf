"""Videos are read to the end, with times, upright, and past damage."""

from fractions import Fraction

import numpy as np
import pytest

from mmhier.media import VideoWriter, video_reader
from mmhier.media.video_reader import read_video, video_info


def read(path):
    problems = []
    frames = list(read_video(path, lambda reason, count: problems.append((reason, count))))
    return frames, problems


def test_frames_come_in_order_with_their_times(video, colour_error):
    frames, problems = read(video)
    assert problems == []
    assert len(frames) == 30 == video_info(video).length
    assert video_info(video).fps == 20
    np.testing.assert_allclose([time for _, time in frames], np.arange(30) / 20, atol=1e-6)
    brightness = [image[30, 40].mean() for image, _ in frames]
    np.testing.assert_allclose(brightness, 40 + 4 * np.arange(30), atol=colour_error)
    assert frames[0][0][2, 2, 2] > 200  # red, in BGR


def test_both_libraries_read_the_same(video, monkeypatch):
    with_av, _ = read(video)
    head = video_info(video)
    monkeypatch.setattr(video_reader, '_import_av', lambda: None)
    height, width = with_av[0][0].shape[:2]
    assert video_info(video) == head == (20, 30, (width, height))
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


def write_numbered(path, codec, times, rate=25):
    """Frames at the given times, numbers of ticks of the rate."""
    av = pytest.importorskip('av')
    rng = np.random.default_rng(0)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.options = dict(g='12')
        for time in times:
            image = np.kron(rng.integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
            frame = av.VideoFrame.from_ndarray(image, format='bgr24')
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize('name', ['damaged.webm', 'damaged.mkv'])
def test_frames_that_the_decoder_says_nothing_of_are_counted(tmp_path, name):
    path, count = tmp_path / name, 200
    write_numbered(path, 'libvpx' if name.endswith('webm') else 'libx264', range(count))
    assert read(path)[1] == []
    content, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    middle = len(content) // 2
    content[middle : middle + 6000] = rng.integers(0, 256, 6000, np.uint8).tobytes()
    path.write_bytes(content)
    frames, problems = read(path)
    assert len(frames) < count - 10 and frames[-1][1] == pytest.approx((count - 1) / 25, abs=1e-6)
    assert dict(problems)['frames are missing'] == count - len(frames)


def test_a_pause_in_a_whole_video_is_no_damage(tmp_path):
    times = [*range(20), *range(60, 80)]
    write_numbered(tmp_path / 'pause.mp4', 'libx264', times)
    frames, problems = read(tmp_path / 'pause.mp4')
    assert problems == []
    np.testing.assert_allclose([time for _, time in frames], np.array(times) / 25, atol=1e-6)


@pytest.mark.parametrize('name', ['screen.webm', 'screen.mkv'])
def test_times_of_no_rate_are_no_damage_where_the_file_has_no_count(tmp_path, name):
    times = [0, 40, 83, 500, 545, 1500, 1547, 1590]
    write_numbered(tmp_path / name, 'libvpx' if name.endswith('webm') else 'libx264', times, rate=1000)
    counts = video_reader._Gaps(Fraction(30))
    for time in times:
        counts.add(time / 1000)
    assert counts.missing() == 0, 'a rate that FFmpeg guesses'
    frames, problems = read(tmp_path / name)
    assert problems == []
    np.testing.assert_allclose([time for _, time in frames], np.array(times) / 1000, atol=1e-6)


def test_reading_goes_on_after_an_error_of_the_file():
    """A generator that has raised is at its end: another one has to go on."""
    av = pytest.importorskip('av')

    class Container:
        packets = iter([1, 2, None, 3, None, None, 4])

        def demux(self, stream):
            for packet in self.packets:
                if packet is None:
                    raise av.error.InvalidDataError(1, 'damaged')
                yield packet

    problems = []
    packets = video_reader._packets(av, Container(), None, lambda reason, count: problems.append(count))
    assert list(packets) == [1, 2, 3, 4] and problems == [1, 1, 1]


@pytest.mark.parametrize('reader', ['av', 'opencv'])
def test_times_of_a_variable_rate(tmp_path, numbered, monkeypatch, reader):
    """Thirty frames per second, then ten."""
    pytest.importorskip('av')
    times = [number / 30 for number in range(12)] + [0.4 + number / 10 for number in range(12)]
    with VideoWriter(tmp_path / 'clip.mp4', 30) as writer:
        for number, seconds in enumerate(times):
            writer.write(numbered(number), seconds)
    if reader == 'opencv':
        monkeypatch.setattr(video_reader, '_import_av', lambda: None)
    found = [seconds for _, seconds in read_video(tmp_path / 'clip.mp4', lambda *_: None)]
    assert found == pytest.approx(times, abs=1e-3)
