"""The 32 data sets of SMPLer-X, its mixes and benchmarks: names, intervals, totals; all keys are read."""

import inspect

import pytest
from mmengine.config import Config
from mmpose.registry import DATASETS, METRICS, TRANSFORMS

from mmhier.cli.check_data import data_sets
from mmhier.cli.main import main
from mmhier.datasets.mesh.human_data import WholeBodyDataset
from mmhier.datasets.mesh.mesh_dataset import MeshDataset
from mmhier.testing.human_data import write_human_data

MIXES = {5: 750_000, 10: 1_500_000, 20: 3_000_000, 32: 4_500_000}
INTERVALS = dict(
    bedlam=5, egobody_kinect=10, ubody=10, mpi_inf_3dhp=5, insta_variety=10, renbody_highres=5, arctic=10,
    fit3d=10, talkshow=10,
)  # fmt: skip


@pytest.fixture(scope='module')
def folder(repo_root):
    return repo_root / 'configs/_base_/datasets/wholebody'


@pytest.fixture(scope='module')
def mixes(folder):
    return {count: Config.fromfile(folder / f'mix{count}.py').train_dataloader.dataset for count in MIXES}


def test_mixes_grow_and_have_their_totals(mixes, folder):
    before = set()
    for count, total in MIXES.items():
        mix = mixes[count]
        names = {dataset.name for dataset in mix.datasets}
        assert len(mix.datasets) == len(names) == count and before < names
        assert (mix.weights, mix.epoch_size, total % count) == ('balanced', total, 0)
        before = names
    files = {path.stem for path in folder.glob('*.py')}
    assert files == before | {'pipelines', 'benchmarks', *(f'mix{count}' for count in MIXES)}


def test_intervals_and_files(mixes):
    sets = {dataset.name: dataset for dataset in mixes[32].datasets}
    assert {name: made.interval for name, made in sets.items() if 'interval' in made} == INTERVALS
    files = [made.ann_file for made in sets.values() if made.type == 'HumanDataset']
    assert len(files) == 26
    flat = [file for some in files for file in ([some] if isinstance(some, str) else some)]
    assert len(set(flat)) == len(flat) == 26 + 2 + 1 + 1 + 2 + 9 + 5 + 3
    assert all(file.startswith('preprocessed_datasets/') and file.endswith('.npz') for file in flat)


def readers(kind):
    """Names of arguments that a data set reads."""
    names = set()
    for cls in (kind, WholeBodyDataset, MeshDataset):
        names |= set(inspect.signature(cls.__init__).parameters)
    return names


def test_every_key_is_read(mixes, folder):
    test = Config.fromfile(folder / 'benchmarks.py')
    seen = 0
    for dataset in (mixes[32], test.test_dataloader.dataset):
        for _, _, made in data_sets(dataset):
            made = dict(made)
            assert set(made) - {'type'} <= readers(DATASETS.get(made['type'])), made['name']
            for step in made['pipeline']:
                step = dict(step)
                parameters = inspect.signature(TRANSFORMS.get(step.pop('type')).__init__).parameters
                assert set(step) <= set(parameters)
            seen += 1
    assert seen == 32 + 7
    evaluator = dict(test.test_evaluator)
    metric = METRICS.build(evaluator)
    names = [made['name'] for _, _, made in data_sets(test.test_dataloader.dataset)]
    assert list(metric.protocols) == names
    primary = [name for name, protocol in metric.protocols.items() if protocol.primary]
    assert primary == ['agora_val', 'egobody_test', 'ubody_test', 'pw3d_test', 'ehf']


def test_check_says_what_is_there(mixes, folder, tmp_path, capsys, monkeypatch):
    """All of HumanData but one data set is; BEDLAM needs a body, others their files."""
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path / 'models'))
    files = 0
    for made in mixes[32].datasets:
        if made.type != 'HumanDataset' or made.name == 'rich':
            continue
        for file in [made.ann_file] if isinstance(made.ann_file, str) else made.ann_file:
            changes = {'meta': None} if made.get('image_hw') else {}
            write_human_data(tmp_path / file, changes, count=2, image_hw=(200, 200))
            files += 1
    picture = tmp_path / 'SPEC/images/0000.jpg'
    picture.parent.mkdir(parents=True)
    picture.touch()
    options = ['--cfg-options', f'data_root={tmp_path}/']
    assert main(['check-data', str(folder / 'mix32.py'), '--pictures', '2', *options]) == 1
    out = capsys.readouterr().out
    assert files == 48 and 'rich: ' in out and 'rich_train_fix_betas.npz does not exist' in out
    assert 'coco_wholebody_train_v1.0.json does not exist' in out
    lines = {line.split()[1]: line for line in out.splitlines() if line.startswith('| ')}
    cells = {name: [cell.strip() for cell in line.split('|')[2:-1]] for name, line in lines.items()}
    assert cells['spec'] == ['2', '2', '140,625', '1 of 2', '']
    assert cells['renbody'][:2] == ['20', '20'] and cells['talkshow'][:2] == ['4', '4']
    assert cells['bedlam'] == cells['mscoco'] == ['', '', '140,625', '', 'cannot be used']
    assert '24 of 32 data sets can be used, with 76 people' in out


def test_check_of_a_config_without_data_sets(folder, capsys):
    assert main(['check-data', str(folder / 'pipelines.py')]) == 1
    assert 'pipelines.py has no data sets in train_dataloader' in capsys.readouterr().err


def test_mix_and_benchmarks_are_bases_of_one_config(folder, tmp_path):
    (tmp_path / 'leaf.py').write_text(f"_base_ = ['{folder}/mix5.py', '{folder}/benchmarks.py']\n")
    leaf = Config.fromfile(tmp_path / 'leaf.py')
    assert len(leaf.train_dataloader.dataset.datasets) == 5
    assert len(leaf.test_dataloader.dataset.datasets) == 7
