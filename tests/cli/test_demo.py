"""``mmhier demo`` without a network leaves pictures, a video, a GLB and numbers, and says what to do next."""

import re

import cv2
import pytest

from mmhier.cli import demo
from mmhier.cli.main import main
from mmhier.results.earlier import record_files
from mmhier.results.files import read_results


@pytest.fixture
def quick(monkeypatch):
    """Few people and frames."""
    monkeypatch.setattr(demo, 'NUM_SCENES', 2)
    monkeypatch.setitem(demo.WALK, 'frames', 6)
    monkeypatch.setenv('MMHIER_OFFLINE', '1')


def test_files_and_next_steps(quick, tmp_path, capsys):
    out = tmp_path / 'demo'
    assert main(['demo', '--out', str(out), '--no-show']) == 0
    assert cv2.imread(str(out / 'demo.jpg')).std() > 10
    for name in ('demo_walk_overlay.mp4', 'demo_walk_side.mp4'):
        assert cv2.VideoCapture(str(out / name)).get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert (out / 'demo_walk.glb').read_bytes()[:4] == b'glTF'
    frames = list(read_results(out / 'results.json'))
    assert [len(frame.people) for frame in frames] == [1] * 6
    printed = capsys.readouterr().out
    named = re.findall(rf'{re.escape(str(out))}/[\w./]+', printed)
    assert len(named) > 3
    for path in named:
        assert (tmp_path / path).exists(), path
    assert 'next: mmhier infer photo.jpg' in printed


def test_again_and_other_people(quick, tmp_path):
    """A second run writes over the first; with another seed, other people."""
    pictures = []
    for seed in ('0', '3'):
        assert main(['demo', '--out', str(tmp_path), '--no-show', '--seed', seed]) == 0
        pictures.append(cv2.imread(str(tmp_path / 'demo.jpg')))
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert main(['demo', '--out', str(tmp_path / 'file')]) == 1
    assert '--out' in capsys.readouterr().err


def test_weights_of_the_users_own_are_not_taken(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for config in (demo.POSE, demo.MESH):
        own = tmp_path / 'pretrained' / f'{config}.pth'
        own.parent.mkdir(exist_ok=True)
        own.write_text('of another training')
    assert main(['demo', '--no-show']) == 0


def test_people_of_another_version_are_made_anew(quick, tmp_path):
    file = tmp_path / 'people_0' / 'synth.json'
    file.parent.mkdir()
    file.write_text('{"code": "of another version", "num_train": 0}')
    assert main(['demo', '--out', str(tmp_path), '--no-show']) == 0
    assert 'another version' not in file.read_text()


def test_files_of_others_stay(quick, tmp_path, capsys):
    """Neither is written over what a demo's files are called like, nor are results of inference removed."""
    (tmp_path / 'demo.jpg').write_text('mine')
    assert main(['demo', '--out', str(tmp_path), '--no-show']) == 1
    assert 'holds other files; name a folder that is empty or not there yet' in capsys.readouterr().err
    assert (tmp_path / 'demo.jpg').read_text() == 'mine'
    out = tmp_path / 'demo'
    (out / 'people_0').mkdir(parents=True)
    (out / 'people_0' / 'synth.json').write_text('{"num_train": 0}')
    (out / 'photo_overlay.jpg').write_text('mine')
    record_files(out, [out / 'photo_overlay.jpg'])
    assert main(['demo', '--out', str(out), '--no-show']) == 1
    assert 'holds results of mmhier infer (photo_overlay.jpg)' in capsys.readouterr().err
    assert (out / 'photo_overlay.jpg').exists()


def test_a_seed_below_zero_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(['demo', '--out', str(tmp_path / 'new'), '--seed', '-1'])
    assert '--seed: must be at least 0, got -1' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()
