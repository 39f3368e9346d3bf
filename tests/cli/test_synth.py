import argparse

import pytest

from mmhier.cli.main import main
from mmhier.cli.synth import add_arguments, run


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(list(map(str, arguments)))


def test_reuses_what_is_there_and_counts_people(data_set, capsys):
    status = run(parse(data_set, '--train', 36, '--val', 8, '--seed', 3, '--image-size', '160x128'))
    assert status == 0
    line = capsys.readouterr().out
    assert line.startswith(f'Reused {data_set}')
    assert 'in 36 train images' in line
    assert 'in 8 val images' in line


@pytest.mark.parametrize('arguments', [('--seed', 4), ('--scenes', 'simple')])
def test_other_parameters_are_one_clear_line(data_set, capsys, arguments):
    assert main(['synth', str(data_set), *map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert '--overwrite' in error


@pytest.mark.parametrize(
    'arguments', [('--image-size', '320'), ('--image-size', '4x4'), ('--train', '-1'), ('--seed', 'x')]
)
def test_bad_values_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        parse('out', *arguments)
    assert arguments[0] in capsys.readouterr().err
