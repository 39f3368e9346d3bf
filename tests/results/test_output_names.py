"""No file of a run takes the place of another, nor of what the run reads."""

import pytest

from mmhier.results.output_names import check_outputs, source_stem

REFUSED = 'results of this run may replace .*, which it reads: name another --out or other inputs'


@pytest.fixture
def folder(tmp_path):
    for name in (
        'a.jpg',
        'A_Overlay.JPG',
        'a_2_overlay.jpg',
        'a_page_2_side.jpg',
        'clip.mp4',
        'results.json',
    ):
        (tmp_path / name).write_bytes(b'content')
    return tmp_path


@pytest.mark.parametrize(
    ('source', 'kinds', 'read'),
    [
        ('a.jpg', ['json', 'overlay'], 'A_Overlay.JPG'),
        ('elsewhere/a.png', ['overlay'], 'a_2_overlay.jpg'),
        ('a.tif', ['side'], 'a_page_2_side.jpg'),
        ('a.jpg', ['json'], 'results.json'),
    ],
)
def test_what_is_read_is_not_written_over(folder, source, kinds, read):
    for out in (folder, folder / 'absent' / '..'):
        with pytest.raises(ValueError, match=REFUSED):
            check_outputs(out, kinds, [source], [folder / 'a.jpg', folder / read])
    check_outputs(folder / 'out', kinds, [source], [folder / 'a.jpg', folder / read])
    check_outputs(folder, ['npz', 'side_each'], [source], [folder / 'a.jpg', folder / read])
    check_outputs(folder, kinds, ['b.jpg'], [folder / 'a.jpg', folder / 'clip.mp4'])


def test_links_are_what_they_lead_to(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp('other')
    (other / 'out').symlink_to(folder)
    (other / 'in.jpg').symlink_to(folder / 'a_2_overlay.jpg')
    (folder / 'b_overlay.jpg').symlink_to(folder / 'a.jpg')
    for read in (folder / 'a_2_overlay.jpg', other / 'in.jpg', other / 'out' / 'a_2_overlay.jpg'):
        with pytest.raises(ValueError, match=REFUSED):
            check_outputs(other / 'out', ['overlay'], ['a.jpg'], [read])
    with pytest.raises(ValueError, match=REFUSED):  # the link would be replaced
        check_outputs(folder, ['overlay'], ['b.jpg'], [folder / 'b_overlay.jpg'])


def test_cameras_have_stems(folder):
    (folder / 'camera_0_overlay.mp4').write_bytes(b'content')
    assert source_stem('camera 0') == 'camera_0' and source_stem('my camera 0.mp4') == 'my camera 0'
    with pytest.raises(ValueError, match=REFUSED):
        check_outputs(folder, ['overlay'], ['camera 0'], [folder / 'camera_0_overlay.mp4'])
