"""One resolver of names: what it accepts, what it says about everything else, and where weights are found."""

import subprocess
import sys
from pathlib import Path

import mmpose
import pytest

from mmhier.cli.main import main
from mmhier.zoo import names
from mmhier.zoo.names import find_configs, resolve_config

STOCK = 'td-hm_hrnet-w32_8xb64-210e_coco-256x192'
FOLDERS = 'body_2d_keypoint/topdown_heatmap/coco'
MIM = Path(mmpose.__file__).parent / '.mim' / 'configs'
POSE = 'swinpose_micro_s3_synth'


def test_the_whole_family_is_there():
    found = [path.stem for path in find_configs()]
    expected = {f'{f}pose_{z}_s{n}_coco' for f in ('swin', 'gmf', 'vm') for z in 'tsb' for n in (2, 3, 4)}
    expected |= {f'vitpose_{size}{decoder}_coco' for size in 'sblh' for decoder in ('', '_simple')}
    assert len(expected) == 35 and expected <= set(found)
    own = [name for name in found if name.startswith('swinpose')]
    assert own == [f'swinpose_{size}_s{n}_coco' for size in 'tsb' for n in (2, 3, 4)]


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('swinpose_s_s3_coco', 'hpe/swinpose_s_s3_coco.py'),
        ('swinpose_s_s3', 'hpe/swinpose_s_s3_coco.py'),
        ('swinpose_s_s3_coco.py', 'hpe/swinpose_s_s3_coco.py'),
        ('swinhmr2_s_s3', 'hmr/swinhmr2_s_s3_mixed.py'),
        ('swinpose_micro_s3', 'hpe/swinpose_micro_s3_synth.py'),
    ],
)
def test_our_names(name, found):
    assert resolve_config(name) == names.config_folder() / found
    assert find_configs([name]) == [resolve_config(name)]


@pytest.mark.parametrize(
    'name',
    [
        f'mmpose::{FOLDERS}/{STOCK}.py',
        f'mmpose::{FOLDERS}/{STOCK}',
        f'mmpose::{STOCK}',
        STOCK,
        f'{STOCK}.py',
        str(MIM / FOLDERS / f'{STOCK}.py'),
    ],
)
def test_stock_names(name):
    path = MIM / FOLDERS / f'{STOCK}.py'
    assert resolve_config(name) == path and find_configs([name]) == [path]


def test_names_of_other_packages():
    pytest.importorskip('mmpretrain')
    assert resolve_config('mmpretrain::resnet/resnet50_8xb32_in1k.py').stem == 'resnet50_8xb32_in1k'


def test_every_stock_name_is_found_and_means_one_config():
    known = find_configs(['mmpose::*'])
    assert len(known) > 300
    full = [f'mmpose::{path.relative_to(MIM).with_suffix("").as_posix()}' for path in known]
    assert [resolve_config(name) for name in full] == known
    assert len({path.stem for path in known}) == len(known)


def test_patterns_and_paths(tmp_path):
    assert len(find_configs(['swinpose_?_s3_coco'])) == 3
    path = find_configs(['swinpose_t_s3_coco'])[0]
    assert find_configs([str(path), 'swinpose_t_s3', 'swinpose_t_s[3]_coco']) == [path]
    assert {path.parent.name for path in find_configs(['*_synth'])} == {'hpe', 'hmr'}
    assert {path.parent.name for path in find_configs(['*_synth'], task='hmr')} == {'hmr'}
    stock = find_configs(['mmpose::*hrnet-w32_8xb64-210e_coco-*'])
    assert MIM / FOLDERS / f'{STOCK}.py' in stock and len(stock) > 1
    assert find_configs([f'mmpose::{FOLDERS}/*hrnet-w32_8xb64-210e_coco-256x192.py']) == stock[:1]
    own = tmp_path / 'mine.py'
    own.touch()
    assert resolve_config(own) == own and find_configs([str(own)]) == [own]


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('swinpos_s_s3', 'did you mean swinpose_s_s3_coco'),
        ('swinhmr_s_s3_mixed', 'did you mean swinhmr2_s_s3_mixed'),
        (STOCK.replace('hrnet', 'hrnt'), f'did you mean {STOCK}'),
        (f'mmpose::{STOCK}x', f'did you mean mmpose::{STOCK}'),
        (f'mmpose::{FOLDERS}/{STOCK}x.py', f'did you mean mmpose::{STOCK}'),
        ('zzz', r'name of a model; `mmhier models "\*" "mmpose::\*"` lists them'),
        ('mmpose::zzz', r'name of a model; `mmhier models "mmpose::\*"` lists them'),
        ('zzz*', "'zzz\\*' fits the name of no model"),
        ('vitpose-plus-bas', 'did you mean vitpose-plus-base'),
        ('nowhere/swinpose_s_s3_coc.py', 'did you mean swinpose_s_s3_coco'),
    ],
)
def test_what_is_meant_by_a_wrong_name(name, meant):
    with pytest.raises(FileNotFoundError, match=meant):
        find_configs([name])


def test_pre_training_is_found_by_its_whole_name_and_is_among_no_models():
    assert resolve_config('mae_vit_s_coco_crops').parent.name == 'pretrain'
    assert 'pretrain' not in {path.parent.name for path in find_configs(['*'])}
    with pytest.raises(FileNotFoundError, match='mae_vit_s_coco_crops'):
        find_configs(['mae_vit_s_coco_crop'])


def test_a_name_of_weights_is_no_name_of_a_model():
    with pytest.raises(FileNotFoundError, match=r'that of released weights: --weights \(weights=\)'):
        resolve_config('vitpose_plus_small')
    with pytest.raises(FileNotFoundError, match=r'that of released weights: --detector \(detector=\)'):
        resolve_config('yolox-s')


def test_what_is_meant_by_a_wrong_path(tmp_path):
    own = tmp_path / 'Configs' / 'my_pose.py'
    own.parent.mkdir()
    own.touch()
    for wrong in ('configs/my_pose.py', 'Configs/my_pse.py', 'config/my-pose.py'):
        with pytest.raises(FileNotFoundError, match=f'did you mean {own}'):
            resolve_config(tmp_path / wrong)


def test_what_is_not_one_model():
    with pytest.raises(ValueError, match='may be several models, one is wanted here'):
        resolve_config('swinpose_*')
    for name in ('nobody::a', 'torch::a', 'no body::a'):
        with pytest.raises(ImportError, match='no.?body|torch is not installed, or not with its configs'):
            resolve_config(name)


def test_an_installation_without_configs_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(names, '_PLACES', (tmp_path,))
    with pytest.raises(FileNotFoundError, match='no configs in'):
        find_configs()


# How each command is given the name of a model; X.pth is there.
COMMANDS = {
    'infer': 'photo.jpg --model NAME --weights X.pth',
    'train': 'NAME',
    'test': 'NAME X.pth',
    'export': 'NAME X.pth',
    'benchmark': 'NAME',
    'compare': 'NAME',
    'models': 'NAME',
    'convert': 'X.pth Y.pth --model NAME',
    'app': '--model NAME --weights X.pth',
}


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_says_the_same_about_a_wrong_name(command, tmp_path, monkeypatch, capsys):
    from mmhier.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, 'import_gradio', lambda: None)
    for name in ('X.pth', 'photo.jpg'):
        Path(name).touch()
    assert main([command, *COMMANDS[command].replace('NAME', 'swinpos_s_s3').split()]) == 1
    error = capsys.readouterr().err
    with pytest.raises(FileNotFoundError) as said:
        resolve_config('swinpos_s_s3')
    assert error.splitlines()[-1] == f'mmhier: FileNotFoundError: {said.value}'


# How each command is given weights.
WEIGHTS = {
    'infer': f'photo.jpg --model {POSE} --weights NAME',
    'test': f'{POSE} NAME',
    'export': f'{POSE} NAME',
    'convert': 'NAME Y.pth',
    'app': f'--model {POSE} --weights NAME',
    'train': f'{POSE} --resume NAME',
}


@pytest.mark.parametrize('command', WEIGHTS)
def test_every_command_says_the_same_about_absent_weights(command, tmp_path, monkeypatch, capsys):
    from mmhier.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, 'import_gradio', lambda: None)
    Path('photo.jpg').touch(), Path('epoch_16.pth').touch()
    assert main([command, *WEIGHTS[command].replace('NAME', 'epoch_61.pth').split()]) == 1
    said = 'mmhier: FileNotFoundError: checkpoint epoch_61.pth does not exist; did you mean epoch_16.pth?'
    assert capsys.readouterr().err.splitlines()[-1] == said


def test_names_are_there_without_heavy_imports():
    program = (
        'import sys\nfrom mmhier.zoo.names import *\n'
        'assert find_configs(["*"]) and find_configs(["mmpose::*"]) and resolve_config("swinpose_s_s3")\n'
        'assert not {"torch", "mmengine", "mmpose", "numpy"} & sys.modules.keys()'
    )
    subprocess.run([sys.executable, '-c', program], check=True)
