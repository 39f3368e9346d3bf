"""A damaged image is an error that names it, or a counted skip; never grey pixels."""

import cv2
import numpy as np
import pytest

from mmhier.datasets.transforms import LoadCheckedImage
from mmhier.media import image_file
from mmhier.media.image_file import read_image


@pytest.fixture
def image():
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8), (9, 9), 3)


def _write(path, image, keep=1.0, tail=b''):
    ok, encoded = cv2.imencode(path.suffix, image)
    assert ok
    content = encoded.tobytes()
    path.write_bytes(content[: int(len(content) * keep)] + tail)
    return str(path)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp'])
def test_intact_image_equals_mmpose(tmp_path, image, suffix):
    from mmpose.datasets.transforms import LoadImage

    path = _write(tmp_path / f'a{suffix}', image)
    ours = LoadCheckedImage().transform(dict(img_path=path))
    theirs = LoadImage().transform(dict(img_path=path))
    np.testing.assert_array_equal(ours['img'], theirs['img'])
    assert ours['img_shape'] == ours['ori_shape'] == theirs['ori_shape'] == (64, 48)


def test_jpeg_with_a_trailer_is_intact(tmp_path, image):
    path = _write(tmp_path / 'a.jpg', image, tail=b'camera notes' * 40)
    assert LoadCheckedImage().transform(dict(img_path=path))['img'].shape == (64, 48, 3)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp'])
@pytest.mark.parametrize('keep', [0.0, 0.3, 0.95])
def test_truncated_image_raises_with_its_name(tmp_path, image, suffix, keep):
    path = _write(tmp_path / f'broken{suffix}', image, keep)
    with pytest.raises(ValueError, match=f'broken{suffix}'):
        LoadCheckedImage().transform(dict(img_path=path))


def test_missing_image_raises_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match='nobody.jpg'):
        LoadCheckedImage().transform(dict(img_path=str(tmp_path / 'nobody.jpg')))


def test_skip_counts_each_file_once(tmp_path, image):
    good, bad = _write(tmp_path / 'a.jpg', image), _write(tmp_path / 'b.jpg', image, 0.5)
    transform = LoadCheckedImage(on_error='skip')
    paths = [good, bad, bad, str(tmp_path / 'nobody.jpg')]
    assert [transform.transform(dict(img_path=path)) is None for path in paths] == [False, True, True, True]
    assert len(transform.skipped) == 2


def test_unknown_policy():
    with pytest.raises(ValueError, match='ignore'):
        LoadCheckedImage(on_error='ignore')


def test_no_picture_has_more_bytes_than_fit(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    read_image(str(path))
    monkeypatch.setattr(image_file, 'MAX_PICTURE_BYTES', 10)
    with pytest.raises(ValueError, match='a.png has .* bytes, such a file has at most 10'):
        read_image(str(path))
