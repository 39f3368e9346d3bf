"""``mmhier models download|path|verify|remove NAME`` as they are typed."""

import json
import os
import runpy
import shlex
from pathlib import Path

import pytest

from mmhier.cli import doctor
from mmhier.cli.main import main
from mmhier.cli.model_files import weights_table
from mmhier.parts import Problem
from mmhier.testing.file_server import Served
from mmhier.zoo import cache
from mmhier.zoo.registry import read_registry

_zoo = runpy.run_path(str(Path(__file__).parents[1] / 'zoo' / 'conftest.py'))
home, make_entry = _zoo['home'], _zoo['make_entry']
CONTENT = b'weights' * 1000


@pytest.fixture
def entry(server, make_entry):
    server.files['/net.bin'] = Served(CONTENT)
    return make_entry(content=CONTENT, sources=[server.url('/net.bin')])


@pytest.fixture
def run(capsys):
    """Exit status, standard output and standard error of a command."""

    def run(command: str):
        status = main(shlex.split(command))
        return status, *capsys.readouterr()

    return run


def test_from_download_to_removal(entry, server, run, home):
    path = home / 'models/net/net.bin'
    status, out, err = run('models path net')
    assert (status, out) == (1, '') and str(path) in err and len(err.splitlines()) == 1
    status, out, err = run('models verify net')
    assert (status, out) == (1, 'net: not on this machine\n')
    status, out, err = run('models download net')
    assert (status, out) == (0, f'{path}\n') and 'CC BY 4.0' in err
    assert run('models path net') == (0, f'{path}\n', '')
    status, out, err = run('models verify')
    assert status == 0 and out.endswith(f'net: {path} is whole (SHA-256 as published)\n')
    path.write_bytes(CONTENT[::-1])
    status, out, err = run('models verify net')
    assert status == 1 and 'instead of' in out and out.endswith('it is fetched again when it is used\n')
    status, out, err = run('models remove net')
    assert status == 0 and 'bytes deleted' in out and not path.parent.exists()
    assert run('models remove net') == (0, 'net: nothing was in the cache\n', '')
    assert len(server.log) == 1


def test_a_misspelt_action_is_answered(run):
    status, out, err = run('models downlod swinpose-micro')
    assert (status, out) == (1, '') and 'did you mean mmhier models download?' in err


@pytest.mark.parametrize('is_published', [True, False])
def test_bits_that_flip_without_a_trace_are_found_by_verify(entry, run, home, make_entry, is_published):
    if not is_published:
        make_entry(sources=[source.url for source in entry.sources])
    run('models download net')
    path = home / 'models/net/net.bin'
    before = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(before, before))
    assert run('models path net')[0] == 0  # its size and time have not changed
    assert run('models verify net')[0] == 1
    assert run('models path net')[0] == 1  # nor does it matter any more
    run('models download net')
    assert path.read_bytes() == CONTENT and run('models verify net')[0] == 0


def test_a_licence_is_accepted_on_the_command_line(server, make_entry, run):
    server.files['/net.bin'] = Served(CONTENT)
    make_entry(content=CONTENT, sources=[server.url('/net.bin')], non_commercial='yes')
    status, out, err = run('models download net')
    assert (status, out, server.log) == (1, '', []) and len(err.splitlines()) == 1
    assert 'mmhier models download net --accept-licence' in err
    assert run('models download net --accept-licence')[0] == 0


def test_list_says_what_is_known(make_entry, run):
    make_entry(sources=['https://example.org/net.bin'], uncertain='who trained it')
    status, out, err = run('models list net swinpose-micro')
    assert (status, err) == (0, '') and '| `net` ' in out and '| `swinpose-micro` ' in out
    assert 'net: trained on own pictures; https://example.org/net; checked: never; uncertain: who tr' in out
    assert run('models list')[1].count('checked: ') == len(read_registry())


def test_what_no_program_can_fetch_is_not_advised(make_entry, run):
    make_entry(sources=[], note='login')
    status, _, err = run('models path net')
    assert status == 1 and 'download net' not in err and 'by hand' in err


@pytest.mark.parametrize('page', [b'<!doctype html><p>moved</p>', b' \n{"error": "gone"}'])
def test_a_page_in_the_place_of_weights_is_refused(server, make_entry, run, page):
    server.files['/net.bin'] = Served(page)
    make_entry(sources=[server.url('/net.bin')])
    status, out, err = run('models download net')
    assert (status, out) == (1, '') and 'is no pth file but a page or a text' in err


def test_one_that_fails_does_not_stop_the_others(entry, server, make_entry, run, home):
    make_entry('gone', content=CONTENT, sources=[server.url('/gone')])
    make_entry('locked', content=CONTENT, sources=[server.url('/net.bin')], non_commercial='yes')
    status, out, err = run('models download gone locked net')
    assert (status, out) == (1, f'{home / "models/net/net.bin"}\n')
    said = [line for line in err.splitlines() if line.startswith('mmhier models download: ')]
    assert len(said) == 2 and '/gone' in said[0] and '--accept-licence' in said[1]


@pytest.mark.parametrize('command', ['download nobody', 'download', 'path', 'remove', 'verify nobody'])
def test_mistakes_are_one_line(run, command):
    status, out, err = run(f'models {command}')
    assert (status, out) == (1, '') and len(err.splitlines()) == 1 and '`mmhier models` lists them' in err


def test_failures_are_one_line(make_entry, server, run):
    make_entry(content=CONTENT, sources=[server.url('/a'), server.url('/b')])
    status, out, err = run('models download net')
    assert (status, out) == (1, '') and len(err.splitlines()) == 2 and 'Traceback' not in err
    assert err.count('server answers 404') == 2


def test_list(run, entry):
    status, out, _ = run('models swinpose_micro_s3_synth vitpose_s_coco')
    (line,) = [line for line in out.splitlines() if 'vitpose-plus-small' in line]
    assert status == 0 and '75.8 COCO val AP' in line and 'Apache-2.0' in line and '132,619,932 B' in line
    assert 'initial weights' in line and 'mae-small' in out and 'yolox' not in out
    run('models download net')
    table = weights_table([])
    assert len(table.splitlines()) == len(read_registry()) + 2
    (line,) = [line for line in table.splitlines() if '`net`' in line]
    assert line.endswith('yes |')


def test_doctor_shows_cache_size_and_offline_state(entry, run, monkeypatch, home):
    run('models download net')
    (part,) = [part for part in doctor.OPTIONAL if part.name == 'released weights']
    assert part.probe() == f'{home}/models: 1 file, 0.0 MB; downloads on first use'
    monkeypatch.setenv('MMHIER_OFFLINE', '1')
    assert 'OFFLINE (MMHIER_OFFLINE is set)' in part.probe()
    monkeypatch.setenv('MMHIER_HOME', __file__)
    with pytest.raises(Problem, match='cannot be written to'):
        part.probe()


def test_receipt_is_beside_the_file(entry, run, home):
    run('models download net')
    assert json.loads((home / 'models/net/net.bin.json').read_text())['name'] == 'net'


def test_a_file_that_cannot_be_read_keeps_no_other_from_being_verified(entry, run, monkeypatch):
    run('models download net')
    monkeypatch.setattr(cache, 'problem_of', unreadable)
    status, out, _ = run('models verify')
    assert status == 1 and 'net.bin cannot be read ([Errno 13] Permission denied)' in out


def unreadable(*_, **__):
    raise PermissionError(13, 'Permission denied')
