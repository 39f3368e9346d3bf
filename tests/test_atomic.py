import os

import pytest

from mmhier.atomic import new_file, remove_leftovers


def test_the_new_file_replaces_the_old(tmp_path):
    path = tmp_path / 'folder' / 'a.usda'
    for text in ('one', 'two'):
        with new_file(path) as temporary:
            assert temporary.suffix == '.usda'
            assert temporary.parent == path.parent
            temporary.write_text(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ['a.usda']


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs the device that is always full')
def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(OSError, match=r'No space left.*/a\.txt'), new_file(path) as temporary:
        temporary.symlink_to('/dev/full')
        temporary.write_text('new')
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']
    with pytest.raises(OSError, match=r'xxx\.txt'), new_file(tmp_path / f'{"x" * 300}.txt') as temporary:
        temporary.write_text('new')


def test_after_an_error_the_old_file_stands(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(RuntimeError), new_file(path) as temporary:
        temporary.write_text('half of the new')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


def test_leftovers_of_killed_processes_are_deleted(tmp_path):
    kept = ['.12.34.other.txt', 'epoch_1.pth', '.hidden.pth', '.12.epoch_1.pth']
    for name in [*kept, '.12.34.epoch_1.pth']:
        (tmp_path / name).touch()
    assert remove_leftovers(tmp_path, r'.*\.pth') == [tmp_path / '.12.34.epoch_1.pth']
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_durable_file_is_flushed_before_it_replaces_the_old_one(tmp_path, monkeypatch):
    calls = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: calls.append(name) or real(*args))
    with new_file(tmp_path / 'a', durable=True) as temporary:
        temporary.write_text('content')
    assert calls == ['fsync', 'replace', 'fsync']
    assert (tmp_path / 'a').read_text() == 'content'
