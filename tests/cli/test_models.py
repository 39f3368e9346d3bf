"""``mmhier models`` and where configs are found."""

import csv

import pytest

from mmhier.cli.main import main
from mmhier.cli.models import MARKS, table
from mmhier.cost import kept
from mmhier.cost.macs import cost_of
from mmhier.zoo.names import find_configs


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))


def test_names_come_at_once_and_rows_as_they_are_counted(monkeypatch, capsys):
    """What has been printed each time that a model is about to be counted."""
    printed = []
    count = kept.find_cost

    def find_cost(path):
        printed.append(capsys.readouterr())
        return count(path)

    monkeypatch.setattr(kept, 'find_cost', find_cost)
    names = ['swinpose_micro_s3_synth', 'swinhmr2_micro_s3_synth', 'swinpose_t_s2_synth']
    assert main(['models', *names]) == 0
    last = capsys.readouterr()
    assert all(name in printed[0].err for name in names) and not printed[0].out
    assert '`swinpose_micro_s3_synth`' in printed[1].out and '`swinhmr2_micro_s3_synth`' in printed[2].out
    assert '`swinpose_t_s2_synth`' in last.out and 'PA-MPJPE' in printed[2].out
    assert len({len(line) for line in printed[1].out.splitlines() + last.out.splitlines()[:4] if line}) == 1
    printed.clear()
    assert main(['models', *names]) == 0
    assert not printed[0].err  # nothing is counted again


def test_what_cannot_be_counted_is_left_out_and_named(capsys):
    others = ['rtmo-s_8xb32-600e_coco-640x640', 'mmpretrain::resnet50_8xb32_in1k']
    assert main(['models', others[0]]) == 1
    assert 'is a BottomupPoseEstimator: only top-down pose and mesh models' in capsys.readouterr().err
    assert main(['models', *others, 'swinpose_micro_s3']) == 0
    printed = capsys.readouterr()
    assert '`swinpose_micro_s3_synth`' in printed.out
    assert 'left out rtmo-s_8xb32-600e_coco-640x640' in printed.err and 'ImageClassifier' in printed.err


def test_command(tmp_path, capsys):
    text = tmp_path / 'README.md'
    text.write_text('\n'.join(['# A', *MARKS[False], *MARKS[True], 'B\n']))
    arguments = [
        'swinpose_s_s[34]_coco',
        'gmfhmr2_s_s3_mixed',
        '--csv',
        tmp_path / 'a.csv',
        '--plot',
        tmp_path / 'a.png',
        '--write',
        text,
    ]
    assert main(['models', *map(str, arguments)]) == 0
    printed = capsys.readouterr().out
    assert (
        '| `swinpose_s_s3_coco` | 256x192 |      33.47 |    36.10 |' in printed
        and '(9 N + 1) L K D' in printed
    )
    rows = list(csv.DictReader((tmp_path / 'a.csv').open()))
    assert [row['Config'] for row in rows] == [
        'swinpose_s_s3_coco',
        'swinpose_s_s4_coco',
        'gmfhmr2_s_s3_mixed',
    ]
    assert rows[0]['Score reported'].startswith('74.6')
    assert rows[2]['Score reported'] == '35.4 (paper, arXiv 2510.12660)'
    assert '| `gmfhmr2_s_s3_mixed` | 256x192 |      16.89 |    19.17 |' in printed
    assert (tmp_path / 'a.png').stat().st_size > 5000
    lines = text.read_text().splitlines()
    assert lines[0] == '# A' and lines[-1] == 'B' and len(lines) == 13


def test_wrong_name_is_one_line(capsys):
    assert main(['models', 'nobody']) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_page_is_current(repo_root):
    """The tables in the page are what ``mmhier models --write docs/models.md`` writes."""
    text = (repo_root / 'docs' / 'models.md').read_text(encoding='utf-8')
    costs = [cost_of(path) for path in find_configs()]
    for has_mesh, (begin, end) in MARKS.items():
        content = table(costs, has_mesh)
        assert len(content.splitlines()) > 30
        assert f'{begin}\n{content}\n{end}' in text
