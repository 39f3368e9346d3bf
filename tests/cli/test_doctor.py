"""The doctor tells what works, what does not, and what to do about it; allowed to, it does it."""

import io
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from mmhier.cli import doctor
from mmhier.cli.main import main
from mmhier.compat.installation import INSTALL
from mmhier.parts import Part, Problem

MMPOSE = [sys.executable, '-m', 'pip', 'install', '--no-deps', 'mmpose==1.3.2']


def test_this_environment(capsys):
    """Tests run only where everything required works; whatever the doctor says must agree with that."""
    assert main(['doctor']) == 0
    out = capsys.readouterr().out
    assert 'Everything required works.' in out and '--fix' not in out
    assert torch.__version__ in out and metadata.version('mmpose') in out
    assert 'TruncatedSwin      ok' in out
    assert 'xtcocotools' in out
    assert 'Average Precision' not in out


def failing(error: Exception):
    def probe():
        raise error

    return probe


@pytest.fixture
def parts(monkeypatch):
    """The parts that are required, and those that are not."""

    def set_parts(required: tuple, optional: tuple = ()) -> None:
        monkeypatch.setattr(doctor, 'REQUIRED', required)
        monkeypatch.setattr(doctor, 'OPTIONAL', optional)

    return set_parts


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (
            ModuleNotFoundError("No module named 'x'", name='x'),
            'thing              absent  x is not installed',
        ),
        (
            RuntimeError('operator x\ndoes not exist'),
            'thing              BROKEN  RuntimeError: operator x does not exist',
        ),
        (Problem('is too old'), 'thing              BROKEN  is too old'),
    ],
)
def test_failures_and_remedies(parts, capsys, error, text):
    parts((Part('fine', lambda: '1.0'), Part('thing', failing(error), ('x>=1',), 'restart')))
    assert main(['doctor']) == 1
    out = capsys.readouterr().out
    assert text in out and "-> pip install 'x>=1'; restart" in out
    assert 'Not working, required: thing.' in out and out.endswith('missing: mmhier doctor --fix\n')


def test_optional_parts_do_not_fail(parts, capsys):
    parts((), (Part('extra', failing(ImportError('no')), advice='install it'),))
    assert main(['doctor']) == 0
    assert '-> install it' in capsys.readouterr().out


def test_parts_are_told_apart_by_their_names():
    names = [part.name for part in (*doctor.REQUIRED, *doctor.OPTIONAL)]
    assert len(set(names)) == len(names) > 20


# --- repairs -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_mmpose(parts):
    """Without MMPose what builds on it fails, too, and for its sake."""
    missing = failing(ModuleNotFoundError('mmhier.models needs mmpose', name='mmpose'))
    parts(
        (Part('mmpose', missing, INSTALL['mmpose']), Part('model', missing, advice='report this')),
        (Part('extra', failing(ModuleNotFoundError(name='extra')), ('extra>=2',)),),
    )


@pytest.fixture
def ran(monkeypatch):
    """The commands that the doctor runs; what they return is the second item."""
    done = [], [0]

    def run(command, check):
        done[0].append(command)
        return SimpleNamespace(returncode=done[1][0])

    monkeypatch.setattr(doctor.subprocess, 'run', run)
    return done


def test_allowed_beforehand(no_mmpose, ran, capsys):
    assert main(['doctor', '--fix', '--yes']) == 0
    assert ran[0] == [MMPOSE, [sys.executable, '-m', 'mmhier', 'doctor']]
    assert '$ ' in capsys.readouterr().out


def test_without_a_terminal_the_command_is_printed_and_not_run(no_mmpose, ran, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'stdin', io.StringIO('y\n'))
    assert main(['doctor', '--fix']) == doctor.NOT_ALLOWED == 2
    out = capsys.readouterr().out
    assert ' '.join(MMPOSE) in out and 'mmhier doctor --fix --yes' in out and not ran[0]


@pytest.mark.parametrize(('answer', 'status'), [('y\n', 0), ('yes\n', 0), ('\n', 2), ('n\n', 2), ('', 2)])
def test_on_a_terminal_the_user_is_asked(no_mmpose, ran, monkeypatch, answer, status):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, 'stdin', terminal)
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    assert main(['doctor', '--fix']) == status
    assert (MMPOSE in ran[0]) == (status == 0)


def test_optional_parts_are_installed_when_they_are_named(no_mmpose, ran):
    assert main(['doctor', '--fix', 'extra', '--yes']) == 0
    assert [command[3:] for command in ran[0][:2]] == [MMPOSE[3:], ['install', 'extra>=2']]
    assert main(['doctor', '--fix', 'mmpose', '--yes']) == 0


def test_a_part_that_nobody_knows(no_mmpose, ran, capsys):
    assert main(['doctor', '--fix', 'extr', '--yes']) == 1
    assert '--fix extr: no such part; did you mean extra?' in capsys.readouterr().err
    assert main(['doctor', '--yes']) == 1
    assert '--yes goes with --fix' in capsys.readouterr().err and not ran[0]


def test_pip_that_fails(no_mmpose, ran, capsys):
    ran[1][0] = 1
    assert main(['doctor', '--fix', '--yes']) == 1
    assert ran[0] == [MMPOSE] and 'this failed, see above for why' in capsys.readouterr().err


def test_nothing_to_repair_and_nothing_that_can_be(parts, ran, capsys):
    parts((Part('fine', lambda: '1.0'),))
    assert main(['doctor', '--fix']) == 0
    assert 'nothing to repair' in capsys.readouterr().out
    parts((Part('python', failing(Problem('is too old')), advice='use another'),))
    assert main(['doctor', '--fix', '--yes']) == 1
    assert 'python -> use another' in capsys.readouterr().out and not ran[0]
