"""A folder with dot people, a micro ViT that teaches and micro students, and fresh processes in it."""

import copy
import os
import shutil
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.testing import write_dot_people
from mmhier.testing.fresh_processes import FreshProcesses

PLAIN = """
_base_ = '{root}/configs/hpe/swinpose_micro_s3_synth.py'
data_root = 'data/'
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/person_keypoints_val.json')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2, max_keep_ckpts=-1))
randomness = dict(seed=0)
train_cfg = dict(max_epochs=2, val_interval=2)
model = dict(backbone=dict(arch=dict(depths=[1, 1, 1, 1]), drop_path_rate=0.5))
"""
VIT = """
_base_ = './plain.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ViT',
        arch=dict(embed_dims={dims}, num_layers=2, num_heads=2),
        img_size=(128, 96),
        drop_path_rate=0.1,
    ),
    neck=dict(in_channels={dims}, out_channels={dims}),
    head=dict(in_channels={dims}),
)
"""
STUDENT = """
_base_ = './plain.py'
model = dict(type='DistilledPoseEstimator', teacher=dict(config='teacher.py', checkpoint='teacher.pth'))
"""
TOKEN = """
_base_ = './teacher.py'
model = dict(
    type='KnowledgeTokenEstimator',
    backbone=dict(knowledge_token=24),
    teacher=dict(config='teacher.py', checkpoint='teacher.pth'),
)
optim_wrapper = dict(optimizer=dict(lr=0.1))
"""
TOKEN_STUDENT = """
_base_ = './narrow.py'
model = dict(
    backbone=dict(
        knowledge_token=24,
        init_cfg=dict(type='Pretrained', checkpoint=None, knowledge_token='work_dirs/token/iter_4.pth'),
    )
)
"""
CACHED = """
_base_ = './student.py'
model = dict(teacher=dict(cache='cache'))
people = {{_base_.train_dataloader.dataset}}
train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatedViews', views=2, dataset=people))
"""


@pytest.fixture(scope='package')
def school(tmp_path_factory, repo_root):
    """Configs, data, the teacher's checkpoint; ``run`` of :class:`FreshProcesses`."""
    folder = tmp_path_factory.mktemp('school')
    for split, images in (('train', 8), ('val', 2)):
        write_dot_people(folder / 'data', split, images)
    files = dict(
        plain=PLAIN.format(root=repo_root),
        teacher=VIT.format(dims=24),
        narrow=VIT.format(dims=16),
        student=STUDENT,
        token=TOKEN,
        token_student=TOKEN_STUDENT,
        cached=CACHED,
    )
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text)
    init_default_scope('mmpose')
    torch.manual_seed(1)
    model = MODELS.build(Config.fromfile(folder / 'teacher.py').model)
    model.init_weights()
    torch.nn.init.normal_(model.head.final_layer.weight, std=0.1)  # it says something
    torch.save(dict(state_dict=model.state_dict()), folder / 'teacher.pth')
    variables = dict(
        PYTHONPATH=os.pathsep.join([str(repo_root), os.environ.get('PYTHONPATH', '')]), OMP_NUM_THREADS='1'
    )
    with FreshProcesses(folder, variables) as processes:
        yield SimpleNamespace(
            folder=folder,
            train=f'{repo_root}/tools/train.py',
            test=f'{repo_root}/tools/test.py',
            run=processes.run,
        )
    shutil.rmtree(folder)


@cache
def read_once(path):
    return Config.fromfile(path)


def read(name):
    init_default_scope('mmpose')
    return copy.deepcopy(read_once(os.path.abspath(f'{name}.py')))


@cache
def four_samples(path):
    from mmpose.registry import DATASETS

    dataset = DATASETS.build(read_once(path).train_dataloader.dataset)
    return [dataset[index] for index in range(4)]


@pytest.fixture
def reads(school, monkeypatch):
    """The config of a name; the folder is the current one."""
    monkeypatch.chdir(school.folder)
    return read


@pytest.fixture
def build(school, monkeypatch):
    """Build the model of a config of the folder, which is the current one; with changes."""
    monkeypatch.chdir(school.folder)

    def make(name, **changes):
        cfg = read(name)
        cfg.merge_from_dict(changes)
        torch.manual_seed(0)
        return MODELS.build(cfg.model)

    return make


@pytest.fixture
def batch(school, monkeypatch):
    """Four crops of the training data, as a model gets them."""
    monkeypatch.chdir(school.folder)

    def make(model):
        samples = copy.deepcopy(four_samples(os.path.abspath('plain.py')))
        return model.data_preprocessor(pseudo_collate(samples), training=True)

    return make
