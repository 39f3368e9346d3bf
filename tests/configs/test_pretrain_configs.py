"""Configs of pre-training: encoders are those of the pose models that they name, and they run as typed."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.convert.key_table import fit
from mmhier.convert.vit import fit_vit
from mmhier.engine.preflight import check_config
from mmhier.visualization.curves import read_scalars

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {path.stem: path for path in sorted((ROOT / 'configs/pretrain').glob('*.py'))}
FIRST_LINE = re.compile(r'# python tools/train\.py configs/pretrain/(\w+)\.py(?: +\([^()]+\))?')
ONE_STEP = (
    'train_dataloader.batch_size=2 train_dataloader.num_workers=0 train_dataloader.persistent_workers=False '
    'max_epochs=1 default_hooks.checkpoint.interval=1 default_hooks.logger.interval=1'
).split()
SMALL_MAE = ['model.neck.decoder_depth=1']


def pose_config(name):
    """The pose model that a config is for, as its head says."""
    if name.endswith('_synth'):
        return dict(mae='vitpose_micro_synth', simmim='swinpose_micro_s3_synth')[name.partition('_')[0]]
    found = re.search(r'For (\w+), --cfg-options', CONFIGS[name].read_text())
    return found[1]


@pytest.mark.parametrize('name', CONFIGS)
def test_first_lines_are_the_commands_and_name_the_last_checkpoint(name):
    lines = CONFIGS[name].read_text().splitlines()
    (command,) = [match for line in lines[:2] if (match := FIRST_LINE.fullmatch(line))]
    assert command[1] == name
    epochs = Config.fromfile(CONFIGS[name]).train_cfg.max_epochs
    if not name.endswith('_synth'):
        assert f'checkpoint=work_dirs/{name}/epoch_{epochs}.pth' in '\n'.join(lines[:3])


@pytest.mark.parametrize('name', CONFIGS)
def test_its_checkpoint_fits_the_pose_model_that_it_names(name):
    """Every weight of the pose model's encoder comes from it, but for a closing norm; nothing is stored."""
    init_default_scope('mmpose')
    trained, pose = (
        Config.fromfile(CONFIGS[name]),
        Config.fromfile(ROOT / f'configs/hpe/{pose_config(name)}.py'),
    )
    with torch.device('meta'):
        weights = MODELS.build(trained.model.backbone).state_dict()
        encoder = MODELS.build({**pose.model.backbone, 'init_cfg': None})
    index = 'relative_position_index'  # of Swin, which is no weight, and compared by its numbers
    weights = {f'backbone.{key}': value for key, value in weights.items() if not key.endswith(index)}
    expected = {key: value for key, value in encoder.state_dict().items() if not key.endswith(index)}
    if name.startswith('mae_'):
        kept, report = fit_vit(weights, expected, encoder.map_hw)
    else:
        stages = encoder.truncation.num_stages, encoder.truncation.out_indices
        kept, report = fit(encoder.weights, weights, expected, *stages)
    assert len(kept) > 30 and set(expected) == set(kept), report


def write_aic(folder):
    """AI Challenger: people of COCO's stand-in with 14 keypoints."""
    from mmpose.datasets import AicDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    keypoints = parse_pose_metainfo(AicDataset.METAINFO)['keypoint_id2name']
    names = [keypoints[index] for index in sorted(keypoints)]
    coco = json.loads((folder / 'data/coco/annotations/person_keypoints_train2017.json').read_text())
    for annotation in coco['annotations']:
        annotation['keypoints'] = annotation['keypoints'][: 3 * len(names)]
        annotation['num_keypoints'] = sum(visible > 0 for visible in annotation['keypoints'][2::3])
    coco['categories'] = [dict(id=1, name='person', keypoints=names, skeleton=[])]
    path = folder / 'data/aic/annotations/aic_train.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco))
    images = folder / 'data/aic/ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902'
    shutil.copytree(folder / 'data/coco/train2017', images, dirs_exist_ok=True)


def write_images(folder):
    """ImageNet: a folder of folders of pictures."""
    for number, path in enumerate(sorted((folder / 'data/coco/train2017').iterdir())):
        place = folder / f'data/imagenet/train/n{number:08d}'
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'data', 'small', 'target'),
    [
        ('mae_vit_s_coco_crops', None, SMALL_MAE, 'vitpose_s_coco'),
        ('mae_vit_s_coco_aic_crops', write_aic, SMALL_MAE, None),
        ('mae_vit_s_images', write_images, SMALL_MAE, None),
        ('simmim_swin_t_s3_coco_crops', None, [], 'swinpose_t_s3_coco'),
        ('simmim_gmf_t_s3_coco_crops', None, [], None),
        ('simmim_vm_t_s3_coco_crops', None, [], None),
    ],
)
def test_it_runs_as_typed_and_the_pose_model_begins_from_it(name, data, small, target, workshop):
    """A step of pre-training in a fresh process; a step of the pose model from its checkpoint in another."""
    if data:
        data(workshop.folder)
    work_dir = workshop.folder / 'work_dirs' / name
    workshop.run('tools/train.py', f'configs/pretrain/{name}.py', '--cfg-options', *ONE_STEP, *small)
    losses = [record['loss'] for record in read_scalars(work_dir) if 'loss' in record]
    assert losses and all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert len(losses) == (2 if data is write_aic else 1), 'every person of every set was seen'
    if target is None:
        return
    trained = load_checkpoint_file(work_dir / 'epoch_1.pth')['state_dict']
    pose = [one.replace('max_epochs', 'train_cfg.max_epochs') for one in ONE_STEP]
    pose += [
        f'model.backbone.init_cfg.checkpoint=work_dirs/{name}/epoch_1.pth',
        'optim_wrapper.optimizer.lr=1e-9',
    ]
    workshop.run('tools/train.py', f'configs/hpe/{target}.py', '--no-validate', '--cfg-options', *pose)
    begun = load_checkpoint_file(workshop.folder / 'work_dirs' / target / 'epoch_1.pth')['state_dict']
    compared = [key for key in begun if key in trained and key.endswith('weight') and 'backbone' in key]
    assert len(compared) > 5
    for key in compared:
        torch.testing.assert_close(begun[key], trained[key], atol=1e-6, rtol=0, msg=key)


def test_a_folder_of_pictures_that_is_missing_is_one_line(tmp_path, monkeypatch):
    cfg = Config.fromfile(CONFIGS['mae_vit_s_images'])
    monkeypatch.chdir(tmp_path)
    for prefix, key in ((dict(img='train/'), 'img'), ('train/', 'img_path')):
        cfg.train_dataloader.dataset.data_prefix = prefix
        with pytest.raises(FileNotFoundError, match=rf'^data/imagenet/train/ does not exist .*prefix.{key},'):
            check_config(cfg, ('train_dataloader',))
