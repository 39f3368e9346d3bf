"""Folders of pictures: all of them in order, nothing else, and clear errors."""

import pytest

from mmhier.datasets.picture_folder import PictureFolder


def test_all_pictures_below_in_the_order_of_their_paths(tmp_path):
    for name in ('train/n2/b.JPEG', 'train/n1/c.png', 'train/a.webp', 'train/n1/notes.txt', 'train/.x.png'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere/d.jpg').touch()
    (tmp_path / 'train/n3').symlink_to(tmp_path / 'elsewhere')
    data = PictureFolder(data_root=str(tmp_path), data_prefix=dict(img='train/'))
    found = [data.get_data_info(index)['img_path'] for index in range(len(data))]
    names = ['a.webp', 'n1/c.png', 'n2/b.JPEG', 'n3/d.jpg']
    assert found == [str(tmp_path / 'train' / name) for name in names]


def test_no_folder_and_no_pictures(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere is no folder of pictures: set data_root'):
        PictureFolder(data_root=str(tmp_path / 'nowhere'))
    (tmp_path / 'a.txt').touch()
    with pytest.raises(ValueError, match='hold no picture'):
        PictureFolder(data_root=str(tmp_path))
