"""The same of paths and addresses."""

import os
import uuid

import pytest

from mmhier.labelling import storage


@pytest.fixture(params=['path', 'address'])
def place(request, tmp_path):
    """A folder that is not there yet."""
    if request.param == 'path':
        return str(tmp_path / 'place')
    pytest.importorskip('fsspec')
    return f'memory:///{uuid.uuid4()}/place'


def put(folder, name, content, tmp_path):
    (tmp_path / 'made').write_bytes(content)
    storage.put(tmp_path / 'made', storage.join(folder, name))


def test_what_is_put_is_found_and_read(place, tmp_path):
    assert storage.names_in(place) == set()
    assert storage.read_content(storage.join(place, 'a.jpg')) is None
    for name in ('b.JPG', 'a.jpg', '.hidden.jpg', 'c.txt'):
        put(place, name, name.encode(), tmp_path)
    put(storage.join(place, 'folder.jpg'), 'd.jpg', b'', tmp_path)
    expected = [storage.join(place, name) for name in ('a.jpg', 'b.JPG', 'c.txt')]
    assert storage.list_names(place) == (expected, True)
    assert storage.list_names(expected[0]) == (expected[:1], False)
    assert storage.list_names(storage.join(place, '*.jpg')) == (expected[:1], True)
    assert {'a.jpg', 'b.JPG', 'c.txt'} <= storage.names_in(place)
    assert storage.suffix_of(expected[1]) == '.jpg'
    assert storage.read_content(expected[0]) == b'a.jpg'
    with storage.opened(expected[1]) as file:
        storage.copy_part(file, 2, 100, tmp_path / 'part')
    assert (tmp_path / 'part').read_bytes() == b'JPG'
    with storage.fetched(expected[1]) as path:
        assert path.read_bytes() == b'b.JPG' and path.suffix.lower() == '.jpg'
    assert path.exists() == (not storage.is_address(place))


def test_what_is_put_again_replaces_it(place, tmp_path):
    for content in (b'long before', b'after'):
        put(place, 'a', content, tmp_path)
    assert storage.read_content(storage.join(place, 'a')) == b'after'
    assert storage.names_in(place) == {'a'}


def test_what_is_missing_is_named(place):
    missing = storage.join(place, 'a.jpg')
    with pytest.raises(FileNotFoundError, match=r'place/a\.jpg does not exist'):
        storage.list_names(missing)
    if storage.is_address(place):
        with pytest.raises(FileNotFoundError, match=r'place/a\.jpg'), storage.fetched(missing):
            pass
    with pytest.raises(FileNotFoundError, match=r'place/a\.jpg'), storage.opened(missing):
        pass


def test_addresses_that_nothing_opens():
    pytest.importorskip('fsspec')
    with pytest.raises(ValueError, match='nonsense://bucket/a'):
        storage.list_names('nonsense://bucket/a')


def test_errors_of_a_storage_are_the_systems(monkeypatch):
    """Missing credentials and the like are no defects of ours."""

    class NoCredentials(Exception):
        pass

    def refuse(address):
        raise NoCredentials('unable to locate credentials')

    monkeypatch.setattr(storage, '_system', refuse)
    with pytest.raises(OSError, match=r's3://a/b cannot be used \(NoCredentials: unable to'):
        storage.list_names('s3://a/b')


@pytest.mark.skipif(os.name == 'nt', reason='who may write what')
def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match='file'):
        put(str(tmp_path / 'file' / 'below'), 'a', b'', tmp_path)
