"""All pictures of a file: frames of animations with their times, pages of TIFFs; none that is too large."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmhier.media import FrameStream
from mmhier.media.image_file import read_image
from mmhier.media.pictures import PICTURE, jpeg_size, layout, png_size, read_lens, read_pictures

SHADES = [10, 60, 110, 160, 210]
MILLISECONDS = [100, 250, 40, 100, 0]
SECONDS = [0, 0.1, 0.35, 0.39, 0.49]


def images(mode='RGB', size=(30, 20)):
    return [Image.new('RGB', size, (shade, 0, 2 * shade % 256)).convert(mode) for shade in SHADES]


def save(path, pictures, **options):
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


def write_animation(path, **options):
    lossless = dict(lossless=True) if path.suffix == '.webp' else {}
    return save(path, images(), duration=MILLISECONDS, **lossless, **options)


def shades(frames):
    assert all((frame.image == frame.image[0, 0]).all() for frame in frames)
    return [int(frame.image[0, 0, 2]) for frame in frames]  # red, of BGR


@pytest.mark.parametrize('ending', ['webp', 'png', 'apng'])
def test_animations_are_videos(tmp_path, ending):
    path = write_animation(tmp_path / f'clip.{ending}', **(dict(format='PNG') if ending == 'apng' else {}))
    stream = FrameStream(path)
    assert stream.moving and stream.total() == 5
    frames = list(stream)
    assert shades(frames) == SHADES and frames[0].image.tolist()[0][0] == [20, 0, 10]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4] and stream.skips == []
    assert [frame.time_s for frame in frames] == pytest.approx(SECONDS)
    assert {(frame.source.kind, frame.source.sequence) for frame in frames} == {('video', str(path))}


def test_a_picture_for_programs_that_cannot_play_is_no_frame(tmp_path):
    first, *rest = images()
    first.save(tmp_path / 'a.png', save_all=True, append_images=rest, default_image=True, duration=100)
    assert shades(list(FrameStream(tmp_path / 'a.png'))) == SHADES[1:]


@pytest.mark.parametrize('options', [{}, dict(big_tiff=True), dict(compression='tiff_lzw')])
def test_pages_are_images(tmp_path, options):
    path = save(tmp_path / 'pages.tif', images(), **options)
    stream = FrameStream(path)
    assert not stream.moving and stream.total() == 5
    frames = list(stream)
    assert shades(frames) == SHADES and [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert {(frame.source.kind, frame.source.sequence) for frame in frames} == {('image', str(path))}
    assert {frame.time_s for frame in frames} == {None}


def test_pages_are_read_as_opencv_reads_pictures(tmp_path):
    """Grey, 16 bits and transparency, as of single pictures."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 2**16, (20, 30), np.uint16)
    colours = rng.integers(0, 256, (20, 30, 4), np.uint8)
    save(tmp_path / 'pages.tif', [Image.fromarray(grey), Image.fromarray(colours)])
    first, second = FrameStream(tmp_path / 'pages.tif')
    np.testing.assert_array_equal(first.image, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, 2))
    single = tmp_path / 'single.tif'
    Image.fromarray(colours).save(single)
    np.testing.assert_array_equal(second.image, cv2.imread(str(single), cv2.IMREAD_COLOR))


def test_reduced_copies_are_no_pages(tmp_path):
    from PIL import TiffImagePlugin

    large, small = Image.new('RGB', (40, 20), (50, 0, 0)), Image.new('RGB', (20, 10), (50, 0, 0))
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = 1
    small.encoderinfo = dict(tiffinfo=info)
    large.save(tmp_path / 'a.tif', save_all=True, append_images=[small])
    with Image.open(tmp_path / 'a.tif') as image:
        image.seek(1)
        assert image.tag_v2[254] == 1
    (frame,) = FrameStream(tmp_path / 'a.tif')
    assert frame.image.shape == (20, 40, 3)


@pytest.mark.parametrize('ending', ['png', 'tif', 'webp', 'jpg', 'bmp', 'ppm'])
def test_a_single_picture_is_one(tmp_path, ending):
    images()[2].save(tmp_path / f'a.{ending}')
    assert layout(tmp_path / f'a.{ending}') == PICTURE
    (frame,) = FrameStream(tmp_path / f'a.{ending}')
    assert frame.source.kind == 'image' and frame.source.sequence == str(tmp_path)


@pytest.mark.parametrize('ending', ['png', 'tif', 'webp', 'gif'])
def test_what_a_cut_file_has_lost_is_counted(tmp_path, ending):
    if ending == 'gif':
        pytest.importorskip('av')
    whole = tmp_path / f'whole.{ending}'
    if ending == 'tif':
        save(whole, images())
    elif ending == 'gif':
        save(whole, images('P'), duration=100)
    else:
        write_animation(whole)
    content = whole.read_bytes()
    (tmp_path / f'cut.{ending}').write_bytes(content[: len(content) * 2 // 3])
    images()[0].save(tmp_path / 'other.png')
    stream = FrameStream([tmp_path / f'cut.{ending}', tmp_path / 'other.png'])
    frames = [frame for frame in stream if frame.source.name.endswith(f'cut.{ending}')]
    assert len(frames) == 0 if ending == 'webp' else 1 <= len(frames) < 5
    assert ending == 'gif' or shades(frames) == SHADES[: len(frames)]
    lost = sum(skip.count for skip in stream.skips)
    assert lost == 5 - len(frames) if ending in ('png', 'tif') else lost > 0
    assert {skip.name for skip in stream.skips} == {str(tmp_path / f'cut.{ending}')}
    assert FrameStream(whole).skips == [] and len(list(FrameStream(whole))) == 5


def test_a_gif_that_ends_anywhere_is_noticed(tmp_path):
    from mmhier.media.video_reader import _gif_is_whole

    content = save(tmp_path / 'a.gif', images('P'), duration=100).read_bytes()
    assert _gif_is_whole(content) and _gif_is_whole(content + b'\0\0')
    assert [end for end in range(20, len(content)) if _gif_is_whole(content[:end])] == []


def huge_png(path, width, height):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', head), (b'IDAT', zlib.compress(bytes(99))), (b'IEND', b'')]
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*pair) for pair in chunks))


def test_a_picture_over_the_limit_is_named_and_not_decoded(tmp_path, monkeypatch):
    huge_png(tmp_path / 'a.png', 30000, 20000)
    images()[1].save(tmp_path / 'b.png')
    stream = FrameStream(tmp_path)
    assert len(list(stream)) == 1
    (skip,) = stream.skips
    assert 'a.png has 30000 x 20000 pixels, 600 megapixels, more than the limit of 268' in skip.reason
    assert '--max-megapixels' in skip.reason


@pytest.mark.parametrize('ending', ['png', 'jpg', 'tif', 'webp', 'bmp', 'ppm'])
def test_the_limit_holds_for_every_format(tmp_path, ending):
    path = tmp_path / f'a.{ending}'
    images(size=(40, 25))[1].save(path)
    assert len(list(FrameStream(path, max_pixels=1000))) == 1
    with pytest.raises(ValueError, match='40 x 25 pixels'):
        list(FrameStream(path, max_pixels=999))


def test_a_page_over_the_limit_is_not_decoded(tmp_path):
    path = save(tmp_path / 'a.tif', [*images()[:2], Image.new('RGB', (100, 100))])
    reports = []
    found = layout(path)
    pages = list(read_pictures(path, found, lambda *report: reports.append(report), max_pixels=600))
    assert len(pages) == 2 and reports[0][1] == 1 and '100 x 100 pixels' in reports[0][0]


def test_a_bomb_of_another_format_is_counted(tmp_path):
    (tmp_path / 'a.bmp').write_bytes(
        b'BM' + struct.pack('<IHHIIiiHHIIiiII', 100, 0, 0, 54, 40, 30000, 20000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    images()[1].save(tmp_path / 'b.png')
    stream = FrameStream(tmp_path)
    assert len(list(stream)) == 1
    (skip,) = stream.skips
    assert skip.name.endswith('a.bmp') and 'too large' in skip.reason


def with_exif(path, size_wh, **tags):
    """A JPEG whose EXIF has entries, by number of the tag."""
    picture = Image.new('RGB', size_wh, (90, 120, 60))
    exif = Image.Exif()
    exif[0x8769] = {int(tag[1:], 16): value for tag, value in tags.items()}
    picture.save(path, exif=exif)
    return path


@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_size_of_a_photo_is_that_in_which_it_is_read(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / 'photo.jpg'
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path, exif=exif)
    assert jpeg_size(path) == read_image(str(path)).shape[1::-1]


def test_sizes_by_the_heads_of_files(tmp_path):
    image = Image.fromarray(np.zeros((48, 64, 3), np.uint8))
    for name in ('a.jpg', 'a.png', 'a.webp', 'cut.jpg'):
        image.save(tmp_path / name)
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'cut.jpg').read_bytes()[:15])
    sizes = {name: (jpeg_size(tmp_path / name), png_size(tmp_path / name)) for name in ('a.jpg', 'a.png')}
    assert sizes == {'a.jpg': ((64, 48), None), 'a.png': (None, (64, 48))}
    for name in ('a.webp', 'cut.jpg'):
        assert jpeg_size(tmp_path / name) is png_size(tmp_path / name) is None


def test_the_lens_of_a_photo(tmp_path):
    lens = dict(xA405=26)
    assert read_lens(with_exif(tmp_path / 'plain.jpg', (64, 48), **lens)) == 26
    scaled = with_exif(tmp_path / 'scaled.jpg', (64, 48), **lens, xA002=4032, xA003=3024)
    assert read_lens(scaled) == 26
    turned = with_exif(tmp_path / 'turned.jpg', (48, 64), **lens, xA002=4032, xA003=3024)
    assert read_lens(turned) == 26
    cut = with_exif(tmp_path / 'cut.jpg', (48, 48), **lens, xA002=4032, xA003=3024)
    assert read_lens(cut) is None
    assert read_lens(with_exif(tmp_path / 'unknown.jpg', (64, 48), xA405=0)) is None
    assert read_lens(with_exif(tmp_path / 'none.jpg', (64, 48))) is None
    Image.new('RGB', (8, 8)).save(tmp_path / 'bare.jpg')
    Image.new('RGB', (8, 8)).save(tmp_path / 'other.png')
    assert read_lens(tmp_path / 'bare.jpg') is None and read_lens(tmp_path / 'other.png') is None
    (frame,) = FrameStream(tmp_path / 'plain.jpg')
    assert frame.lens_mm == 26


def test_damaged_exif_says_nothing(tmp_path):
    content = with_exif(tmp_path / 'good.jpg', (64, 48), xA405=26).read_bytes()
    start = content.index(b'Exif')
    rng, known = np.random.default_rng(0), 0
    for number in range(300):
        changed = bytearray(content[: rng.integers(1, len(content))] if number % 3 == 0 else content)
        for place in rng.integers(0, min(len(changed), start + 60), 3):
            changed[place] = rng.integers(0, 256)
        (tmp_path / 'bad.jpg').write_bytes(changed)
        lens = read_lens(tmp_path / 'bad.jpg')
        assert lens is None or 4 <= lens <= 4000
        known += lens is not None
    assert known > 0
