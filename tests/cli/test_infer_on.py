"""``mmhier infer --on``: shards of very many inputs, stopped and gone on with."""

import json
import signal
import subprocess
import sys

import cv2
import pytest

from mmhier.cli import main as cli
from mmhier.labelling.labeller import Labeller, Report

OPTIONS = ['--model', 'swinpose_micro_s3_synth', '--weights', 'swinpose-micro', '--detector', 'whole_image']
OPTIONS += ['--device', 'cpu']


@pytest.fixture
def photos(tmp_path, pictures):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f'{number}.png'), pictures[number])
    return folder


def on_local(*arguments):
    return cli.main(['infer', '--on', 'local', *OPTIONS, *map(str, arguments)])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != '.mmhier.lock'}


def test_stopped_and_gone_on_with(photos, tmp_path, monkeypatch, capsys):
    """Each shard is done once, and the files are those of a run that was not stopped."""
    (photos / '4.png').write_bytes((photos / '4.png').read_bytes()[:300])
    assert on_local(photos, '--shard-size', 2, '--out', tmp_path / 'whole') == 3
    whole, labelled, label = capsys.readouterr(), [], Labeller.label
    assert '3 of 3 shards: 5 frames, 5 people in' in whole.out
    assert f'skipped 1 in {photos / "4.png"}: image' in whole.err

    def stopped(self, shard):
        if len(labelled) == 2:
            raise KeyboardInterrupt
        labelled.append(shard.number)
        return label(self, shard)

    monkeypatch.setattr(Labeller, 'label', stopped)
    command = [photos, '--shard-size', 2, '--out', tmp_path / 'out']
    assert on_local(*command) == 130
    (tmp_path / 'out' / '.123.456.results_000002.json').touch()  # of a process that was killed
    labelled.clear()
    assert on_local(*command) == 3 and labelled == [2]
    assert '1 of 3 shards; 2 were done before: 1 frames' in capsys.readouterr().out
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')
    assert on_local(*command, '--quiet') == 0 and labelled == [2]
    assert '0 of 3 shards' not in capsys.readouterr().out
    assert on_local(*command, '--batch-size', 2) == 1
    assert 'batch_size was 8 and is 2' in capsys.readouterr().err


def test_a_shard_that_cannot_be_done_is_named(photos, tmp_path, monkeypatch, capsys):
    label = Labeller.label

    def failing(self, shard):
        if shard.number == 1:
            raise RuntimeError('out of luck')
        return label(self, shard)

    monkeypatch.setattr(Labeller, 'label', failing)
    assert on_local(photos, '--shard-size', 2, '--out', tmp_path / 'out') == 1
    told = capsys.readouterr()
    assert '2 of 3 shards: 4 frames' in told.out
    assert (
        f'shard 1 ({photos / "2.png"} and 1 more inputs) is not done: RuntimeError: out of luck' in told.err
    )
    assert not (tmp_path / 'out' / 'results_000001.json').exists()


def test_files_that_land_elsewhere_are_missed(photos, tmp_path, monkeypatch, capsys):
    """On the disk of another machine, say."""
    monkeypatch.setattr(Labeller, '__init__', lambda self, job: None)
    monkeypatch.setattr(Labeller, 'label', lambda self, shard: Report(shard.number))
    assert on_local(photos, '--shard-size', 4, '--out', tmp_path / 'out') == 1
    told = capsys.readouterr().err
    assert (
        f'its files are not in {tmp_path / "out"}: that has to be' in told and '2 shards are not done' in told
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--save', 'overlay'], '--save overlay with --on local: there are json, npz, parquet'),
        (['--show'], '--show: not with --on local'),
        (['--overwrite', '--webcam', 0], '--webcam, --overwrite: not with --on local'),
        (['--shard-size', 0], '--shard-size 0: must be at least 1'),
        (['--workers', 2], '--workers 2: --on local has one'),
        (['--track'], r'--track with --on local: for videos only, as .*0\.png is none'),
        (['--on', 'ray', '--device', 'cuda:1'], '--device cuda:1: Ray gives every worker a GPU of its own'),
        (['--weights', 'random'], '--weights random: every worker would have weights of its own'),
    ],
)
def test_options_that_make_no_sense(photos, tmp_path, capsys, options, message):
    import re

    assert on_local(photos, '--out', tmp_path / 'out', *options) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'words', [['--workers', '2'], ['--shard-size', '9'], ['--out', 's3://a/b'], ['s3://a/b.jpg']]
)
def test_what_needs_on_says_so(photos, capsys, words):
    assert cli.main(['infer', *OPTIONS, *words, str(photos)]) == 1
    assert 'only with --on ray or --on local' in capsys.readouterr().err


def test_what_is_missing_for_ray_is_named(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert on_local(photos, '--on', 'ray', '--out', tmp_path / 'out') == 1
    assert '--on ray needs: pip install ray' in capsys.readouterr().err


def test_a_cluster_that_does_not_start_is_an_error_of_the_users(monkeypatch):
    from types import SimpleNamespace

    from mmhier.labelling import ray_pool

    def fail(**options):
        raise Exception('timed out during startup')

    ray = SimpleNamespace(is_initialized=lambda: False, init=fail, shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, 'ray', ray)
    monkeypatch.delenv('RAY_ADDRESS', raising=False)
    with pytest.raises(ConnectionError, match='of this machine does not start: timed out'):
        ray_pool.RayPool(None)
    monkeypatch.setenv('RAY_ADDRESS', '1.2.3.4:5')
    with pytest.raises(ConnectionError, match='RAY_ADDRESS=1.2.3.4:5 does not answer'):
        ray_pool.RayPool(None)


def test_the_default_detector_is_one_for_all_workers(monkeypatch):
    from mmhier.detection.detector import WholeImage
    from mmhier.labelling import preparation

    monkeypatch.setattr(preparation, 'load_detector', lambda spec, threshold: WholeImage())
    assert preparation.fetch_detector(None, 0.3) == 'whole_image'
    monkeypatch.setattr(preparation, 'load_detector', lambda spec, threshold: object())
    assert preparation.fetch_detector(None, 0.3) == preparation.DEFAULT_DETECTOR
    assert preparation.fetch_detector('rtmdet-m', 0.3) == 'rtmdet-m'


KILLED = """
import os, sys
from mmhier.cli.main import main
from mmhier.labelling import labeller

put = labeller.put

def put_and_die(path, name):
    put(path, name)
    if name.endswith('results_000001.json'):
        os.kill(os.getpid(), 9)

labeller.put = put_and_die
main(['infer', '--on', 'local', *sys.argv[1:]])
"""


@pytest.mark.slow
def test_killed_and_gone_on_with(photos, tmp_path, capsys):
    """Between the two files of a shard, which is then done again."""
    (tmp_path / 'list.txt').write_text('\n'.join(f'photos/{number}.png' for number in range(6)))
    command = [tmp_path / 'list.txt', '--shard-size', 2, '--save', 'json,npz', '--out', tmp_path / 'out']
    script = [sys.executable, '-c', KILLED, *OPTIONS, *map(str, command)]
    assert subprocess.run(script, capture_output=True, timeout=600).returncode == -signal.SIGKILL
    files = {f'results_00000{number}.{ending}' for number in range(3) for ending in ('json', 'npz')}
    assert files - contents(tmp_path / 'out').keys() == {
        'results_000001.npz',
        'results_000002.json',
        'results_000002.npz',
    }
    assert on_local(*command) == 0
    assert '2 of 3 shards; 1 were done before: 4 frames' in capsys.readouterr().out
    found = contents(tmp_path / 'out')
    assert found.keys() == files | {'plan.json'}
    frames = [
        frame for name in files if name.endswith('.json') for frame in json.loads(found[name])['frames']
    ]
    assert sorted(f['source'] for f in frames) == [str(photos / f'{number}.png') for number in range(6)]
