"""HEIF photos are read upright with pillow-heif; without it one sentence says what is missing."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmhier import heif_file
from mmhier.datasets.transforms.loading import read_image
from mmhier.heif_file import is_heif
from mmhier.media import FrameStream

HEAD = (24).to_bytes(4, 'big') + b'ftypheic' + bytes(4) + b'mif1heic'


def test_what_is_a_photo_of_this_kind():
    assert is_heif(HEAD)
    assert not is_heif(HEAD.replace(b'heic', b'isom', 1)), 'an MP4 file begins alike'
    assert not is_heif(b'\xff\xd8\xff\xe0' + bytes(8)) and not is_heif(b'')


def test_without_the_library_it_is_one_sentence_with_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setattr(heif_file, 'find_spec', lambda name: None)
    (tmp_path / 'photo.HEIC').write_bytes(HEAD)
    with pytest.raises(ValueError, match=r'photo.HEIC is a HEIF photo .*: pip install pillow-heif$'):
        read_image(str(tmp_path / 'photo.HEIC'))
    cv2.imwrite(str(tmp_path / 'other.png'), np.zeros((4, 4, 3), np.uint8))
    with FrameStream([tmp_path]) as stream:
        assert [Path(frame.source.name).name for frame in stream] == ['other.png']
    (skip,) = stream.skips
    assert skip.name.endswith('photo.HEIC') and 'pip install pillow-heif' in skip.reason


@pytest.mark.parametrize('turned', [False, True])
def test_a_photo_is_read_upright(tmp_path, turned):
    pillow_heif = pytest.importorskip('pillow_heif')
    rgb = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8), (96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1  # the camera was turned by a quarter
    file = pillow_heif.from_pillow(Image.fromarray(rgb))
    file.save(tmp_path / 'photo.heic', quality=100, exif=exif.tobytes())
    found = read_image(str(tmp_path / 'photo.heic'))
    expected = np.rot90(rgb, -1) if turned else rgb
    assert found.shape == expected.shape
    assert np.abs(found[..., ::-1].astype(int) - expected).mean() < 3, 'a lossy format'
    assert read_image(str(tmp_path / 'photo.heic'), 'grayscale').shape == expected.shape[:2]
    with FrameStream([tmp_path / 'photo.heic']) as stream:
        (frame,) = list(stream)
    assert (frame.image == found).all()
    with FrameStream([tmp_path / 'photo.heic'], max_pixels=1000) as stream, pytest.raises(ValueError):
        list(stream)
    assert 'more than the limit' in stream.skips[0].reason
    content = (tmp_path / 'photo.heic').read_bytes()
    (tmp_path / 'cut.heic').write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match='cut.heic is damaged'):
        read_image(str(tmp_path / 'cut.heic'))
