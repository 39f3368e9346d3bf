"""``mmhier models`` and where configs are found."""

import csv

from mmhier.cli.main import main
from mmhier.cli.models import MARKS, table
from mmhier.cost.macs import cost_of
from mmhier.zoo.names import find_configs


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


def test_readme_is_current(repo_root):
    """The tables in the README are what ``mmhier models --write README.md`` writes."""
    text = (repo_root / 'README.md').read_text(encoding='utf-8')
    costs = [cost_of(path) for path in find_configs()]
    for has_mesh, (begin, end) in MARKS.items():
        content = table(costs, has_mesh)
        assert len(content.splitlines()) > 30
        assert f'{begin}\n{content}\n{end}' in text
