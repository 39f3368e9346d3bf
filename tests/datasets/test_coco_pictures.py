"""Pictures are where and what the annotation file says, as the loader sees them."""

import json
import shutil

import mmcv
import numpy as np
import pytest
from mmpose.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmhier.datasets.coco_pictures import missing_pictures, picture_size, similar_picture
from mmhier.engine.data_preflight import check_data
from mmhier.media import FrameStream
from mmhier.testing import write_dot_people
from tests.datasets.coco_truth import config, truth_ap, write

ROTATE_90 = 6  # EXIF's orientation of a photo that was taken upright and is stored lying


@pytest.fixture
def people(tmp_path):
    return tmp_path, json.loads(write_dot_people(tmp_path, 'val', 3).read_text())


def turn(path, orientation=ROTATE_90):
    """Mark a picture as to be turned; its pixels stay as they are."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)


@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tif'])
@pytest.mark.parametrize('orientation', [1, 3, ROTATE_90, 8])
def test_the_header_says_what_the_loader_gives(tmp_path, ending, orientation):
    path = tmp_path / f'photo.{ending}'
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    turn(path, orientation)
    for flag, as_stored in (('color', False), ('color_ignore_orientation', True)):
        loaded = mmcv.imfrombytes(path.read_bytes(), flag=flag)
        assert picture_size(path, as_stored) == loaded.shape[1::-1]


def test_training_and_inference_turn_a_photo_alike(tmp_path):
    path = tmp_path / 'photo.jpg'
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20] = 255
    Image.fromarray(pixels).save(path, quality=95)
    turn(path)
    trained = TRANSFORMS.build(dict(type='LoadCheckedImage'))(dict(img_path=str(path)))['img']
    (frame,) = FrameStream(str(path))
    inferred = frame.image
    assert trained.shape == inferred.shape == (60, 40, 3)
    assert np.abs(trained.astype(int) - inferred).max() <= 1


def test_a_photo_labelled_as_stored_is_refused_or_loaded_as_stored(people):
    folder, content = people
    turn(folder / 'images' / 'val' / '000002.png')
    cfg = config(write(folder, content), folder / 'images' / 'val')
    with pytest.raises(ValueError, match='image 2 is 100 x 120 .* is 120 x 100 as its EXIF data turn it'):
        check_data(cfg, 'val_dataloader')
    with pytest.raises(ValueError, match='image 2 is 100 x 120 .*color_ignore_orientation'):
        DATASETS.build(cfg.val_dataloader.dataset)[1]
    cfg.val_dataloader.dataset.pipeline[0].color_type = 'color_ignore_orientation'
    assert truth_ap(cfg) == 1


@pytest.mark.parametrize('on_error', ['raise', 'skip'])
def test_the_loader_compares_every_picture(people, on_error):
    folder, content = people
    content['images'][2].update(width=90)
    steps = [dict(type='LoadCheckedImage', on_error=on_error)]
    cfg = config(write(folder, content), folder / 'images' / 'val', pipeline=steps, test_mode=False)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    assert dataset[0]['img'].shape == (120, 100, 3)
    with pytest.raises(ValueError, match='image 3 is 90 x 120 .*000003.png is 100 x 120.* scale the labels'):
        dataset[2]


def _training(folder, content, on_error):
    cfg = config(write(folder, content), folder / 'images' / 'val', test_mode=False)
    cfg.train_dataloader = cfg.pop('val_dataloader')
    cfg.train_dataloader.dataset.pipeline[0].on_error = on_error
    return cfg


def test_missing_pictures(people, caplog):
    folder, content = people
    (folder / 'images' / 'val' / '000002.png').unlink()
    path = write(folder, content)
    with pytest.raises(
        FileNotFoundError, match=r'people.json: 1 of 3 pictures are not in .*first: 000002.png'
    ):
        check_data(config(path, folder / 'images' / 'val'), 'val_dataloader')
    with pytest.raises(FileNotFoundError, match='train_dataloader.dataset.data_prefix.img'):
        check_data(_training(folder, content, 'raise'), 'train_dataloader')
    check_data(_training(folder, content, 'skip'), 'train_dataloader')
    assert '1 of 3 pictures are not in' in caplog.text and 'they are skipped' in caplog.text
    shutil.rmtree(folder / 'images' / 'val')
    (folder / 'images' / 'val').mkdir()
    with pytest.raises(FileNotFoundError, match='3 of 3 pictures'):
        check_data(_training(folder, content, 'skip'), 'train_dataloader')


@pytest.mark.parametrize(
    'name', ['000002.PNG', 'val/000002.png', '/home/me/000002.png', 'C:\\me\\000002.png']
)
def test_a_name_that_is_almost_right_is_refused_with_the_right_one(people, name):
    folder, content = people
    content['images'][1]['file_name'] = name
    with pytest.raises(FileNotFoundError, match='1 of 3 pictures .*; there is 000002.png'):
        check_data(config(write(folder, content), folder / 'images' / 'val'), 'val_dataloader')


def test_pictures_in_several_folders(tmp_path):
    for name in ('a/1.jpg', 'b/1.jpg'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    images = [dict(file_name=name) for name in ('a/1.jpg', 'b/1.jpg', 'b/2.jpg', 'c/1.jpg')]
    images.append(dict(file_name=str(tmp_path / 'a' / '1.jpg')))
    missing = missing_pictures(images, str(tmp_path))
    assert [image['file_name'] for image in missing] == ['b/2.jpg', 'c/1.jpg']
    assert (
        similar_picture('b/1.JPG', str(tmp_path)) == '1.jpg'
        and similar_picture('c.jpg', str(tmp_path)) is None
    )


def test_size_of_what_is_no_picture(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'nothing')
    assert picture_size(str(tmp_path / 'a.jpg')) is None and picture_size(str(tmp_path / 'b.jpg')) is None


@pytest.mark.parametrize(('orientation', 'said'), [(3, True), (2, True), (1, False)])
def test_turns_that_sizes_do_not_tell_are_said_once(people, caplog, orientation, said):
    folder, content = people
    for number in (2, 3):
        turn(folder / 'images' / 'val' / f'00000{number}.png', orientation)
    cfg = config(write(folder, content), folder / 'images' / 'val')
    check_data(cfg, 'val_dataloader')
    lines = [record.getMessage() for record in caplog.records if 'EXIF' in record.getMessage()]
    assert len(lines) == int(said)
    if said:
        assert '2 of 3 pictures' in lines[0] and '000002.png' in lines[0] and 'people.json' in lines[0]
        assert 'color_ignore_orientation' in lines[0]
    caplog.clear()
    cfg.val_dataloader.dataset.pipeline[0].color_type = 'color_ignore_orientation'
    check_data(cfg, 'val_dataloader')
    assert 'EXIF' not in caplog.text


def test_a_turn_of_a_square_picture_is_not_told_by_its_size(people, caplog):
    folder, content = people
    path = folder / 'images' / 'val' / '000002.png'
    with Image.open(path) as image:
        image.resize((100, 100)).save(path)
    turn(path)
    content['images'][1].update(width=100, height=100)
    check_data(config(write(folder, content), folder / 'images' / 'val'), 'val_dataloader')
    assert '1 of 3 pictures' in caplog.text and 'EXIF' in caplog.text
