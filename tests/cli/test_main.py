"""The command line: quick, one line per error, the right exit status."""

import errno
import subprocess
import sys
import time

import pytest

from mmhier.cli import main as cli
from mmhier.cli.out import check_out_folder
from mmhier.version import __version__


def test_help_is_quick_and_names_every_command():
    code = (
        'import sys\nfrom mmhier.cli.main import main\n'
        'try: main(["--help"])\n'
        'finally: print([name for name in ("torch", "numpy", "mmengine", "cv2") if name in sys.modules])'
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False
    )
    seconds = time.perf_counter() - start
    assert done.returncode == 0 and done.stdout.endswith('[]\n')
    assert all(name in done.stdout for name in cli.COMMANDS)
    assert seconds < 5  # 0.1 s on an idle machine; what matters is that nothing large is imported


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, '--help'])
    assert stop.value.code == 0
    assert f'usage: mmhier {name}' in capsys.readouterr().out


def test_python_m_and_version():
    done = subprocess.run(
        [sys.executable, '-m', 'mmhier', '--version'], capture_output=True, text=True, check=True
    )
    assert done.stdout == f'mmhier {__version__}\n'


@pytest.mark.parametrize('argv', [[], ['nonsense'], ['synth'], ['doctor', '--nonsense']])
def test_wrong_options_end_with_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert 'usage: mmhier' in capsys.readouterr().err


@pytest.fixture
def command(monkeypatch):
    """Make ``mmhier try`` raise or return what the test gives."""

    def make(result):
        module = type(sys)('mmhier_try')

        def run(args):
            if isinstance(result, BaseException):
                raise result
            return result

        module.add_arguments = lambda parser: parser.add_argument('--number', type=int)
        module.run = run
        monkeypatch.setitem(sys.modules, 'mmhier_try', module)
        monkeypatch.setitem(cli.COMMANDS, 'try', ('mmhier_try', 'try something'))

    return make


@pytest.mark.parametrize(('result', 'status'), [(0, 0), (None, 0), (3, 3)])
def test_status_is_the_commands_own(command, result, status):
    command(result)
    assert cli.main(['try', '--number', '5']) == status


@pytest.mark.parametrize(
    'error', [ValueError, FileNotFoundError, IsADirectoryError, OSError, ImportError, ModuleNotFoundError]
)
def test_errors_of_the_user_are_one_line(command, capsys, error):
    command(error('what went wrong'))
    assert cli.main(['try']) == 1
    captured = capsys.readouterr()
    assert captured.out == '' and captured.err == f'mmhier: {error.__name__}: what went wrong\n'


@pytest.mark.parametrize(
    ('path', 'variable'),
    [('home/models/x', 'MMHIER_HOME'), ('bodies/x', 'MMHIER_BODY_MODELS'), ('out/x', None)],
)
def test_a_cache_that_cannot_be_written_names_its_variable(
    command, capsys, monkeypatch, tmp_path, path, variable
):
    monkeypatch.setenv('MMHIER_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path / 'bodies'))
    command(OSError(errno.EROFS, 'Read-only file system', str(tmp_path / path)))
    assert cli.main(['try']) == 1
    remedy = f'. Set {variable} to a folder that this user can write to' if variable else ''
    assert capsys.readouterr().err.endswith(f"'{tmp_path / path}'{remedy}\n")


def test_out_in_a_folder_of_somebody_else(tmp_path, monkeypatch):
    """Said before anything is computed; the command belongs to a user who may write everywhere."""
    monkeypatch.setattr('mmhier.cli.out.os.access', lambda path, mode: path != tmp_path)
    with pytest.raises(PermissionError, match=f'^--out .* may not write to {tmp_path}; name another folder'):
        check_out_folder(tmp_path / 'a/b', '--out')
    (tmp_path / 'mine').mkdir()
    check_out_folder(tmp_path / 'mine/b', '--out')


def test_defects_show_their_traceback(command, monkeypatch):
    command(ZeroDivisionError('a defect'))
    with pytest.raises(ZeroDivisionError):
        cli.main(['try'])
    command(ValueError('shown'))
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, '1')
    with pytest.raises(ValueError, match='shown'):
        cli.main(['try'])


def test_interruption_is_130(command, capsys):
    command(KeyboardInterrupt())
    assert cli.main(['try']) == 130
    assert 'interrupted' in capsys.readouterr().err
