"""A stream takes whatever there is, in order, past damage, with a bounded number of frames in memory."""

import gc
import os
import struct
import sys
import threading
import time
import weakref
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmhier.media import Frame, FrameStream, Source
from mmhier.media import stream as module


@pytest.fixture
def folder(tmp_path, numbered):
    path = tmp_path / 'pictures'
    path.mkdir()
    for number in range(3):
        cv2.imwrite(str(path / f'{number}.png'), numbered(number))
    (path / 'notes.txt').write_text('no picture')
    (path / 'folder.png').mkdir()
    return path


def shades(frames):
    return [int(frame.image[30, 40, 0] - 40) // 4 for frame in frames]


def test_a_file_a_folder_a_pattern_and_a_list(folder):
    inputs = [
        (str(folder / '1.png'), [1]),
        (folder, [0, 1, 2]),
        (str(folder / '[02].png'), [0, 2]),
        ([str(folder / '2.png'), folder / '0.png'], [2, 0]),
        ([folder, [folder / '1.png']], [0, 1, 2, 1]),
    ]
    for given, expected in inputs:
        stream = FrameStream(given)
        assert stream.total() == len(expected)
        frames = list(stream)
        assert shades(frames) == expected and stream.skips == []
        assert all(frame.source.kind == 'image' and frame.index == 0 for frame in frames)
        assert {frame.source.sequence for frame in frames} == {str(folder)}


def test_arrays_and_iterators(numbered):
    images = [numbered(number) for number in range(4)]
    for given in (images, np.stack(images), iter(images), (image for image in images), [iter(images)]):
        frames = list(FrameStream(given))
        assert shades(frames) == [0, 1, 2, 3]
        assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert FrameStream(np.stack(images)).total() == 4
    assert FrameStream(iter(images)).total() is None
    assert shades(FrameStream(images[2][..., 0])) == [2]
    own = Frame(images[1], Source('mine', 'video', 'mine', 5.0), 7, 1.4)
    assert list(FrameStream([own])) == [own]


def test_videos_have_times_and_a_rate(video, folder):
    stream = FrameStream([video, folder])
    assert stream.total() == 33
    frames = list(stream)
    assert [frame.source.kind for frame in frames] == ['video'] * 30 + ['image'] * 3
    assert frames[5].source == Source(str(video), 'video', str(video), 20.0)
    assert stream.moving and not FrameStream(folder).moving and not FrameStream(iter([video])).moving
    assert frames[5].index == 5 and frames[5].time_s == pytest.approx(0.25)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_applied_as_opencv_does(tmp_path, orientation):
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8], pixels[:8, 16:] = 255, (200, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / 'turned.jpg'
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    (frame,) = FrameStream(path)
    assert frame.image.shape == ((16, 24, 3) if orientation <= 4 else (24, 16, 3))
    np.testing.assert_array_equal(frame.image, cv2.imread(str(path)))


@pytest.mark.parametrize('mode', ['grey', 'alpha', '16 bits', '16 bits with alpha'])
def test_other_pixels_are_read_as_opencv_does(tmp_path, mode):
    kind = np.uint16 if '16' in mode else np.uint8
    shape = (9, 8) if mode == 'grey' else (9, 8, 4 if 'alpha' in mode else 3)
    array = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)
    cv2.imwrite(str(tmp_path / 'picture.png'), array)
    (frame,) = FrameStream(tmp_path / 'picture.png')
    assert frame.image.dtype == np.uint8 and frame.image.shape == (9, 8, 3)
    np.testing.assert_array_equal(frame.image, cv2.imread(str(tmp_path / 'picture.png')))


def test_one_pixel(tmp_path):
    cv2.imwrite(str(tmp_path / 'dot.png'), np.full((1, 1, 3), 7, np.uint8))
    (frame,) = FrameStream(tmp_path / 'dot.png')
    assert frame.image.tolist() == [[[7, 7, 7]]]


def test_damaged_files_of_a_folder_are_named_and_counted(folder, noisy_video):
    whole = (folder / '1.png').read_bytes()
    (folder / '1.png').write_bytes(whole[: len(whole) // 2])
    (folder / '1b.jpg').write_bytes(b'')
    (folder / '1c.mp4').write_text('no video')
    stream = FrameStream(folder)
    assert shades(stream) == [0, 2]
    assert [(skip.name.split('/')[-1], skip.count) for skip in stream.skips] == [
        ('1.png', 1),
        ('1b.jpg', 1),
        ('1c.mp4', 1),
    ]
    assert 'is empty' in stream.skips[1].reason and 'cannot be opened' in stream.skips[2].reason


def test_a_damaged_file_alone_is_an_error(tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8 and then nothing')
    with pytest.raises(ValueError, match=r'nothing could be read: .*broken.jpg'):
        list(FrameStream(tmp_path / 'broken.jpg'))


def test_a_corrupt_video_goes_on_after_the_damage(corrupt_video):
    stream = FrameStream(corrupt_video)
    frames = list(stream)
    assert len(frames) > 100 and frames[-1].time_s == pytest.approx(199 / 25, abs=1e-6)
    assert sum(skip.count for skip in stream.skips) > 0
    assert {skip.name for skip in stream.skips} == {str(corrupt_video)}
    reasons = [skip.reason for skip in stream.skips]
    assert len(reasons) == len(set(reasons))


def test_what_is_not_there_is_an_error_at_once(tmp_path, folder):
    for given in (tmp_path / 'absent.jpg', str(tmp_path / '*.jpg'), [tmp_path / 'absent.jpg']):
        with pytest.raises(FileNotFoundError):
            FrameStream(given)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no images or videos'):
        FrameStream(tmp_path / 'empty')
    with pytest.raises(ValueError, match='float is no input'):
        FrameStream(3.5)


def test_one_missing_file_of_several_is_counted(folder):
    stream = FrameStream([folder / 'absent.png', folder / '1.png'])
    assert shades(stream) == [1]
    (skip,) = stream.skips
    assert skip.reason.startswith(f'{folder / "absent.png"} does not exist')


def test_missing_files_say_what_is_missing(folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    for given in ([tmp_path / 'empty', folder / '1.png'], iter([tmp_path / 'empty', folder / '1.png'])):
        stream = FrameStream(given)
        assert shades(stream) == [1]
        (skip,) = stream.skips
        assert skip.name == str(tmp_path / 'empty') and 'holds no images or videos' in skip.reason
    assert FrameStream([tmp_path / 'empty', folder]).total() == 3


def test_hidden_files_of_a_folder_are_left_alone(folder):
    (folder / '._1.png').write_bytes(b'what macOS leaves on other disks')
    stream = FrameStream(folder)
    assert shades(stream) == [0, 1, 2] and stream.skips == []


def test_an_image_too_large_to_decode_is_counted(folder):
    """A small file that claims 60000 x 60000 pixels."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    head = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', head), (b'IDAT', zlib.compress(bytes(1000))), (b'IEND', b'')]
    bomb = b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*pair) for pair in chunks)
    (folder / '1.png').write_bytes(bomb)
    stream = FrameStream(folder)
    assert shades(stream) == [0, 2]
    assert [skip.name for skip in stream.skips] == [str(folder / '1.png')]
    assert '\n' not in stream.skips[0].reason


def test_a_stream_is_read_once(folder):
    stream = FrameStream(folder)
    list(stream)
    with pytest.raises(ValueError, match='once'):
        list(stream)


class Counting:
    """Hands out frames and knows how many are alive."""

    def __init__(self, count):
        self.count, self.alive, self.most, self.made = count, 0, 0, 0

    def __iter__(self):
        for _ in range(self.count):
            image = np.zeros((8, 8, 3), np.uint8)
            self.alive, self.made = self.alive + 1, self.made + 1
            self.most = max(self.most, self.alive)
            weakref.finalize(image, self._gone)
            yield image
            del image

    def _gone(self):
        self.alive -= 1


def most_alive(frames, queue_size, pause):
    """Greatest number of frames in memory, where the reader lets the thread run ahead as far as it may."""
    source, count = Counting(frames), 0
    for frame in FrameStream(source, queue_size=queue_size):
        count += 1
        if count % (frames // 5) == 0:
            time.sleep(pause)
        del frame
    assert count == frames
    return source.most


def test_only_a_few_frames_are_in_memory():
    assert 5 <= most_alive(500, queue_size=5, pause=0.02) <= 9


def test_closing_stops_the_thread():
    source = Counting(10**6)
    with FrameStream(source) as stream:
        next(iter(stream))
    gc.collect()
    assert source.made < 50
    assert 'mmhier-frames' not in {thread.name for thread in threading.enumerate()}


def test_closing_does_not_wait_for_a_stuck_source(monkeypatch, numbered):
    monkeypatch.setattr(module, '_PATIENCE', 0.2)
    freed = threading.Event()

    def stuck():
        yield numbered(0)
        freed.wait(60)

    begin = time.monotonic()
    with FrameStream(stuck()) as stream:
        next(iter(stream))
    assert time.monotonic() - begin < 10
    (thread,) = [thread for thread in threading.enumerate() if thread.name == 'mmhier-frames']
    assert thread.daemon
    freed.set()
    thread.join(10)
    assert not thread.is_alive()


def test_errors_of_a_source_reach_the_reader(numbered):
    def broken():
        yield numbered(0)
        raise ZeroDivisionError('of the source')

    with pytest.raises(ZeroDivisionError, match='of the source'):
        list(FrameStream(broken()))


class FakeCamera:
    """Ten frames, one every 10 ms."""

    def __init__(self, number):
        self.number, self.count, self.open = number, 0, True

    def isOpened(self):
        return self.number == 0

    def get(self, field):
        return 100.0 if field == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        time.sleep(0.01)
        self.count += 1
        return self.count <= 10, np.full((4, 4, 3), self.count, np.uint8)

    def release(self):
        self.open = False


def test_a_camera_shows_what_is_new(monkeypatch):
    monkeypatch.setattr(module.cv2, 'VideoCapture', FakeCamera)
    stream = FrameStream(0)
    assert stream.live and stream.total() is None
    numbers = []
    for frame in stream:
        numbers.append(frame.index)
        assert frame.source.kind == 'camera' and frame.source.fps == 100
        time.sleep(0.025)
    assert numbers == sorted(numbers) and numbers[-1] == 9
    assert len(numbers) < 9  # those nobody waited for are lost
    with pytest.raises(ValueError, match='camera 1 cannot be opened'):
        list(FrameStream(1))


@pytest.mark.parametrize('rate', [0.0, -1.0, float('nan')])
def test_a_camera_that_does_not_know_its_rate(monkeypatch, rate):
    monkeypatch.setattr(module.cv2, 'VideoCapture', FakeCamera)
    monkeypatch.setattr(FakeCamera, 'get', lambda self, field: rate)
    assert next(iter(FrameStream(0))).source.fps is None


def test_what_is_left_out_of_a_folder_is_counted(folder):
    for name in ('a.txt', 'b.TXT', 'notes', '.hidden.txt'):
        (folder / name).write_text('no picture')
    (folder / 'more').mkdir()
    kinds = {
        'files that are no pictures or videos (.txt)': 3,
        'files that are no pictures or videos (no ending)': 1,
    }
    stream = FrameStream(folder)
    assert shades(stream) == [0, 1, 2] and stream.skips == []
    assert stream.left_out == kinds | {'folders within a folder': 2}
    assert FrameStream(f'{folder}/*').left_out == kinds
    assert not FrameStream(folder / '1.png').left_out


def test_skips_are_counted_from_several_threads():
    stream, threads = FrameStream([np.zeros((2, 2, 3), np.uint8)]), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(4):
            note = lambda: [stream.note('a', 'damaged', 1) for _ in range(10000)]  # noqa: E731
            threads.append(threading.Thread(target=note))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [(skip.reason, skip.count) for skip in stream.skips] == [('damaged', 40000)]


def test_waiting_frames_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(module, 'QUEUE_BYTES', 3 * 8 * 8 * 3)
    most = most_alive(60, queue_size=50, pause=0.05)
    assert 2 <= most <= 6  # three wait, one is made, one is handed over, one is used


def test_a_frame_with_more_bytes_than_may_wait_goes_through(monkeypatch):
    monkeypatch.setattr(module, 'QUEUE_BYTES', 10)
    assert len(list(FrameStream(Counting(5)))) == 5


@pytest.mark.skipif(sys.platform in ('darwin', 'win32'), reason='names are always Unicode there')
def test_names_that_are_not_utf_8(tmp_path, video):
    names = [os.fsdecode(b'caf\xe9.png'), os.fsdecode(b'caf\xe9.mp4')]
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((8, 8, 3), 7, np.uint8))
    (tmp_path / 'a.png').rename(tmp_path / names[0])
    video.rename(tmp_path / names[1])
    stream = FrameStream(tmp_path)
    found = [Path(frame.source.name).name for frame in stream]
    assert found == [names[1]] * 30 + [names[0]] and stream.skips == []


@pytest.mark.skipif(not os.path.exists('/proc/version'), reason='no /proc here')
@pytest.mark.parametrize('ending', ['png', 'gif', 'tif', 'mp4'])
def test_a_file_of_the_kernel_is_no_picture_and_no_video(tmp_path, ending):
    path = tmp_path / f'a.{ending}'
    path.symlink_to('/proc/version')
    with pytest.raises(ValueError, match=rf'a\.{ending} holds data although its size is 0'):
        list(FrameStream(path))


def test_what_is_kept_is_not_called_skipped():
    stream = FrameStream(np.zeros((4, 4, 3), np.uint8))
    for _ in range(3):
        stream.note('clip.mp4', 'has nobody', 1, kept=True)
    stream.note('clip.mp4', 'is damaged', 2)
    stream.note('b.png', 'has nobody', 1, kept=True)
    assert [str(skip) for skip in stream.skips] == [
        'clip.mp4: has nobody (3 frames)', 'skipped 2 in clip.mp4: is damaged', 'b.png: has nobody',
    ]  # fmt: skip
