"""Commands that follow one another."""

import pytest

from mmhier.cli.steps import Steps


def test_commands_are_printed_and_timed(capfd):
    steps = Steps()
    steps.run('say', ['--version'])
    out = capfd.readouterr().out
    assert out.startswith('\n$ mmhier --version\nmmhier ') and list(steps.seconds) == ['say']
    with pytest.raises(ValueError, match='no-such-command ended with status 2'):
        steps.run('fail', ['no-such-command'])
    assert list(steps.seconds) == ['say']


def test_training_without_a_score_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(Steps, 'run', lambda self, name, arguments: None)
    with pytest.raises(FileNotFoundError, match='train has no best checkpoint.*to train again'):
        Steps().train_and_test('config.py', tmp_path, '', [], [])


def test_the_best_checkpoint_is_tested(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(Steps, 'run', lambda self, name, arguments: ran.append((name, arguments)))
    (tmp_path / 'mesh_train').mkdir()
    best = tmp_path / 'mesh_train' / 'best_epoch_1.pth'
    best.touch()
    assert Steps().train_and_test('config.py', tmp_path, 'mesh_', ['a=1'], ['b=2'], ['--show']) == best
    (first, train), (second, test) = ran
    assert (first, second) == ('mesh_train', 'mesh_test')
    assert train[:2] == ['train', 'config.py'] and train[-3:] == ['--resume', '--cfg-options', 'a=1']
    assert test[:3] == ['test', 'config.py', str(best)]
    assert test[-4:] == ['--show', '--cfg-options', 'a=1', 'b=2']
