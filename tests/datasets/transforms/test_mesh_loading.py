"""Images of mesh samples: damage is noticed, orientation tags are ignored, reduction leaves enough pixels."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmhier.datasets.transforms import mesh_loading
from mmhier.datasets.transforms.mesh_loading import LoadMeshImage, UnusableSample, jpeg_size
from mmhier.testing.mesh_data import draw_image, encode

IMAGE = draw_image(np.random.default_rng(0), (301, 403), [])


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_bytes_and_files_give_the_same_image(tmp_path, suffix):
    content = encode(IMAGE, suffix)
    path = tmp_path / f'x.{suffix}'
    path.write_bytes(content)
    from_file = LoadMeshImage().transform(dict(img_path=str(path)))
    from_bytes = LoadMeshImage().transform(dict(img_path='x', img_bytes=content))
    np.testing.assert_array_equal(from_file['img'], from_bytes['img'])
    assert from_file['ori_shape'] == (301, 403)
    assert 'img_bytes' not in from_bytes


@pytest.mark.parametrize('content', [b'', b'no image', encode(IMAGE)[:2000], b'\xff\xd8\xff\xd9'])
def test_damaged_image_is_named(content):
    with pytest.raises(UnusableSample, match='x#0: image a.tar:x.jpg'):
        LoadMeshImage().transform(dict(sample_key='x#0', img_path='a.tar:x.jpg', img_bytes=content))


@pytest.mark.parametrize('trailer', [b'', b'x' * 100])  # with a trailer Pillow looks at it as well
def test_image_that_claims_too_many_pixels_is_named(trailer):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', 50000, 50000, 8, 2, 0, 0, 0))
    content = b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(b'x')) + chunk(b'IEND', b'')
    with pytest.raises(UnusableSample, match='x#0: image a.png'):
        LoadMeshImage().transform(dict(sample_key='x#0', img_path='a.png', img_bytes=content + trailer))


def test_name_that_is_none_is_refused():
    with pytest.raises(UnusableSample, match='cannot be read'):
        LoadMeshImage().transform(dict(img_path='a\0b'))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnusableSample, match='gone.jpg'):
        LoadMeshImage().transform(dict(img_path=str(tmp_path / 'gone.jpg')))


def test_orientation_tag_is_ignored():
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    jpeg = encode(IMAGE)
    tagged = jpeg[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + jpeg[2:]
    obeyed = cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_COLOR)
    assert obeyed.shape[:2] == (403, 301)
    assert LoadMeshImage().transform(dict(img_path='x', img_bytes=tagged))['ori_shape'] == (301, 403)


@pytest.mark.parametrize(('box_size', 'factor'), [(200, 1), (511, 1), (512, 2), (1500, 4), (9999, 8)])
def test_reduction_leaves_enough_pixels(box_size, factor):
    made = LoadMeshImage(reduced=True).transform(
        dict(img_path='x', img_bytes=encode(IMAGE), box_size=box_size)
    )
    assert made['img_reduction'] == factor
    assert made['img'].shape[:2] == (-(-301 // factor), -(-403 // factor))
    assert made['ori_shape'] == (301, 403)


def test_size_in_the_header():
    assert jpeg_size(encode(IMAGE)) == (301, 403)
    assert jpeg_size(encode(IMAGE, 'png')) is None
    assert jpeg_size(b'\xff\xd8\xff') is None


def test_pictures_that_a_viewer_would_turn_are_said_once_per_data_set(monkeypatch):
    lines = []
    monkeypatch.setattr(mesh_loading, 'print_log', lambda line, **more: lines.append(line))
    exif = Image.Exif()
    stream = io.BytesIO()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(stream, 'jpeg', exif=exif)
    load = LoadMeshImage()
    sample = dict(img_path='a.tar:1.jpg', dataset_name='own', img_bytes=stream.getvalue())
    load(dict(sample))
    assert not lines
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(stream, 'jpeg', exif=exif)
    sample['img_bytes'] = stream.getvalue()
    for _ in range(2):
        assert load(dict(sample))['img'].shape == (20, 30, 3)
    (line,) = lines
    assert line.startswith('own: a.tar:1.jpg') and 'EXIF' in line and 'as it is stored' in line
    load(dict(sample, dataset_name='other'))
    assert len(lines) == 2
    start = stream.getvalue().index(b'Exif') + 6
    for junk in (b'XX', b'MM\0*\xff\xff\xff\xff'):
        damaged = bytearray(stream.getvalue())
        damaged[start : start + len(junk)] = junk
        assert load(dict(sample, dataset_name='third', img_bytes=bytes(damaged)))['img'].shape == (20, 30, 3)
    assert len(lines) == 2
