"""Tables as text."""

import csv

import pytest

from mmhier.tables import markdown, replace_between, write_csv, write_text


def test_markdown_by_hand():
    assert markdown(('A', 'number'), [('`x`', '1'), ('yy', '12')]) == (
        '| A   | number |\n| --- | -----: |\n| `x` |      1 |\n| yy  |     12 |'
    )


def test_only_what_stands_between_the_marks_changes():
    text = 'before\n<a>\nold\n<b>\nafter\n'
    new = replace_between(text, ('<a>', '<b>'), 'new', 'file')
    assert new == 'before\n<a>\nnew\n<b>\nafter\n'
    assert replace_between(new, ('<a>', '<b>'), 'new', 'file') == new
    with pytest.raises(ValueError, match='README.md has no place'):
        replace_between('nothing', ('<a>', '<b>'), 'new', 'README.md')


def test_files(tmp_path):
    write_csv(tmp_path / 't.csv', ('A', 'B'), [('`x`', '1, 2')])
    assert list(csv.reader((tmp_path / 't.csv').open())) == [['A', 'B'], ['x', '1, 2']]
    write_text(tmp_path / 't.md', 'text\n')
    assert (tmp_path / 't.md').read_text() == 'text\n'
    assert len(list(tmp_path.iterdir())) == 2, 'a temporary file is left'
