"""Names that nothing reads are said; variables of the file are not."""

import pytest
from mmengine.config import Config

from mmhier.engine.settings import load_settings
from mmhier.engine.unread_names import say_unread

BASE = "root = 'data/'\nsteps = 5\nspare = 1\nmodel = dict(type='X')\n"
LEAF = """_base_ = ['base.py']
device = 'cuda'
epoch_length = 3
lr = 1e-3
train_cfg = dict(max_epochs=epoch_length, begin=_base_.steps)
val_dataloader = dict(batch_size=2, data_root={{_base_.root}})
optim_wrapper = dict(optimizer=dict(lr=lr))
work_dirs = 'elsewhere'
"""


@pytest.fixture
def leaf(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'leaf.py').write_text(LEAF)
    return str(tmp_path / 'leaf.py')


def test_names_that_nothing_reads(leaf, caplog):
    load_settings(leaf, None)
    said = [message for message in caplog.messages if 'nothing reads it' in message]
    assert [message.split()[0] for message in said] == ['device', 'spare', 'work_dirs']
    assert 'a GPU is taken if there is one; CUDA_VISIBLE_DEVICES chooses' in said[0]
    end = 'or a base of it, but nothing reads it and nothing is made from it'
    assert said[1] == f'spare is set in {leaf} {end}'
    assert said[2].endswith('did you mean work_dir?')


def test_options_are_errors(leaf):
    for option, text in (
        ('devices', 'has no .devices.; a GPU is taken if there is one'),
        ('batch_size', 'has no .batch_size.; the setting is train_dataloader.batch_size'),
        ('seed', 'has no .seed.; the setting is randomness.seed'),
    ):
        with pytest.raises(ValueError, match=text):
            load_settings(leaf, {option: 1})


def test_ours_set_nothing_for_nothing(repo_root, caplog):
    paths = [*(repo_root / 'configs').glob('h*/*_micro_*.py'), *(repo_root / 'configs').glob('h*/*_s_s3*.py')]
    assert len(paths) > 5
    for path in paths:
        say_unread(str(path), Config.fromfile(path))
    assert 'nothing reads it' not in caplog.text
