"""Files of earlier runs are known by what they were when they were written; nothing else is ever removed."""

import json

import pytest

from mmhier.results.earlier import NAME, check_inputs, earlier_files, record_files, remove_earlier


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'clip_obj').mkdir()
    files = [tmp_path / 'results.json', tmp_path / 'clip_obj' / '0.obj', tmp_path / 'mine.txt']
    for path in files:
        path.write_text(path.name)
    record_files(tmp_path, files[:2])
    return tmp_path


def test_only_what_was_written_goes(folder):
    assert {path.name for path in earlier_files(folder)} == {'results.json', '0.obj'}
    assert remove_earlier(folder) == 2
    assert [path.name for path in folder.iterdir()] == ['mine.txt']
    assert earlier_files(folder) == [] and remove_earlier(folder) == 0


def test_what_has_been_changed_since_stays(folder):
    (folder / 'results.json').write_text('corrected by hand')
    (folder / 'clip_obj' / 'note.txt').write_text('mine')
    assert remove_earlier(folder) == 1
    assert (folder / 'results.json').is_file() and (folder / 'clip_obj' / 'note.txt').is_file()
    assert not (folder / 'clip_obj' / '0.obj').exists()


def test_runs_add_to_the_list_and_what_is_gone_is_forgotten(folder):
    (folder / 'clip_obj' / '0.obj').unlink()
    (folder / 'new.jpg').write_text('x')
    record_files(folder, [folder / 'new.jpg', folder / 'never_written.jpg', folder.parent / 'outside.jpg'])
    assert {path.name for path in earlier_files(folder)} == {'results.json', 'new.jpg'}
    assert set(json.loads((folder / NAME).read_text())) == {'results.json', 'new.jpg'}


def test_what_has_been_written_anew_is_kept(folder):
    assert remove_earlier(folder, [folder / 'results.json', folder / 'new.jpg']) == 1
    assert earlier_files(folder) == [folder / 'results.json']


def test_what_is_read_is_known_by_any_name(folder):
    check_inputs(folder, [folder / 'mine.txt', folder / 'absent.jpg', folder / 'clip_obj'])
    link = folder.parent / 'link.json'
    link.symlink_to(folder / 'results.json')
    for name in (folder / 'results.json', folder / 'clip_obj' / '..' / 'results.json', link):
        with pytest.raises(ValueError, match=r'--overwrite would remove \S*/results\.json, which this run'):
            check_inputs(folder, [folder / 'mine.txt', name])


@pytest.mark.parametrize('name', ['../outside.txt', '/outside.txt', 'a/../../outside.txt'])
def test_a_list_that_names_files_elsewhere_is_refused(folder, name):
    (folder / NAME).write_text(json.dumps({name: [1, 1]}))
    with pytest.raises(ValueError, match='is damaged: it should list what mmhier wrote'):
        remove_earlier(folder)


def test_a_link_is_nobody_s_file(folder):
    target = folder.parent / 'target.txt'
    target.write_text('results.json')
    (folder / 'results.json').unlink()
    (folder / 'results.json').symlink_to(target)
    assert [path.name for path in earlier_files(folder)] == ['0.obj']
    remove_earlier(folder)
    assert target.is_file()
