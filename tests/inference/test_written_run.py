"""What is handed out is what is written, and the files say how the run ended."""

import json

import pytest

from mmhier.inference.written_run import WrittenRun
from mmhier.results.files import read_results
from mmhier.results.writer import ResultWriter


@pytest.fixture
def start(pose_inferencer, pictures, tmp_path):
    def start(kinds=('json',)):
        writer = ResultWriter(tmp_path / 'out', kinds) if kinds else None
        return WrittenRun(pose_inferencer(list(pictures[:4]), [[8, 6, 60, 90]]), writer)

    return start


def document(tmp_path):
    return json.loads((tmp_path / 'out' / 'results.json').read_text())


def test_a_whole_run(start, tmp_path):
    with start() as run:
        handed_out = [result.frame_index for result in run]
    assert handed_out == [result.frame_index for result in read_results(tmp_path / 'out' / 'results.json')]
    assert handed_out == [0, 1, 2, 3] and document(tmp_path)['complete'] is True
    assert run.files == [tmp_path / 'out' / 'results.json']
    assert {'frames', 'network', 'files'} < run.seconds.keys()
    assert run.seconds_beside.keys() == {'decoding', 'drawing', 'writing'} and not run.left_out


@pytest.mark.parametrize('interrupted', [True, False])
def test_one_that_is_left_early(start, tmp_path, interrupted):
    with start() as run:
        for result in run:
            if result.frame_index == 1:
                run.interrupted = interrupted
                break
    assert document(tmp_path)['complete'] is not interrupted and len(document(tmp_path)['frames']) == 2


def test_one_that_fails(start, tmp_path):
    with pytest.raises(KeyError), start() as run:
        next(iter(run))
        raise KeyError
    assert document(tmp_path)['complete'] is False


def test_one_without_files(start, tmp_path):
    with start(None) as run:
        assert len(list(run)) == 4
    assert run.files == [] and 'files' not in run.seconds and run.seconds_beside.keys() == {'decoding'}
    assert not (tmp_path / 'out').exists()
