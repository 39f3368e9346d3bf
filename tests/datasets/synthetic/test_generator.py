import json
import shutil

import numpy as np
import pytest

from mmhier.datasets.synthetic import generator
from mmhier.datasets.synthetic.generator import generate, image_stream

ARGUMENTS = {'num_train': 36, 'num_val': 8, 'seed': 3, 'image_size_wh': (160, 128), 'progress': False}


@pytest.fixture(autouse=True)
def cache(body_folder, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(body_folder))


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def test_bytes_do_not_depend_on_workers_or_interruptions(data_set, tmp_path, monkeypatch):
    expected = content(data_set)
    assert len(expected) == 36 + 8 + 4 + 1

    # One process, stopped after the chunks are rendered; then resumed, with one chunk lost.
    def stop(*args):
        raise KeyboardInterrupt

    out = tmp_path / 'people'
    with monkeypatch.context() as patch:
        patch.setattr(generator, 'write_split', stop)
        with pytest.raises(KeyboardInterrupt):
            generate(out, **ARGUMENTS, workers=1)
    assert not out.exists()
    partial = tmp_path / 'people.partial'
    records = sorted((partial / 'records').iterdir())
    assert len(records) == 3 + 1
    records[1].unlink()
    untouched = partial / 'images' / 'train' / '00000001.jpg'
    before = untouched.stat().st_mtime_ns
    assert generate(out, **ARGUMENTS, workers=1)
    assert (out / 'images' / 'train' / '00000001.jpg').stat().st_mtime_ns == before
    assert content(out) == expected
    assert not partial.exists()


def test_an_existing_data_set_is_reused_or_refused(data_set, tmp_path, monkeypatch):
    out = tmp_path / 'people'
    shutil.copytree(data_set, out)
    before = content(out)
    assert generate(out, **ARGUMENTS) is False
    with pytest.raises(FileExistsError, match=r'people holds .*seed 3.*seed 4.*--overwrite'):
        generate(out, **{**ARGUMENTS, 'seed': 4})
    with monkeypatch.context() as patch:
        patch.setattr(generator, 'code_digest', lambda module: 'newer')
        with pytest.raises(FileExistsError, match=r'not a data set with code newer.*--overwrite'):
            generate(out, **ARGUMENTS)
    assert content(out) == before


def test_foreign_files_are_never_overwritten_silently(tmp_path):
    (tmp_path / 'thesis.tex').write_text('precious')
    with pytest.raises(FileExistsError, match='other files'):
        generate(tmp_path, **ARGUMENTS)
    assert (tmp_path / 'thesis.tex').read_text() == 'precious'


def test_overwrite_replaces_and_leftovers_of_other_parameters_are_dropped(data_set, tmp_path):
    out, partial = tmp_path / 'people', tmp_path / 'people.partial'
    shutil.copytree(data_set, out)
    (partial / 'records').mkdir(parents=True)
    (partial / 'synth.json').write_text(json.dumps({'seed': 99}))
    (partial / 'records' / 'train-00000000.json').write_text('[]')
    small = {
        'num_train': 2,
        'num_val': 1,
        'seed': 4,
        'image_size_wh': (64, 64),
        'progress': False,
        'workers': 1,
    }
    assert generate(out, **small, overwrite=True)
    coco = json.loads((out / 'annotations' / 'person_keypoints_train.json').read_text())
    assert [image['width'] for image in coco['images']] == [64, 64]
    assert not partial.exists()


def test_streams_of_splits_and_images_are_disjoint():
    first = {
        (split, seed, index): tuple(image_stream(seed, split, index).integers(0, 2**63, 4).tolist())
        for split in ('train', 'val')
        for seed in (0, 1)
        for index in range(300)
    }
    assert len(set(first.values())) == len(first) == 1200


def test_train_and_val_images_differ(data_set):
    images = {path.read_bytes() for path in (data_set / 'images').rglob('*.jpg')}
    assert len(images) == 36 + 8
    smpl = [
        np.load(data_set / 'annotations' / f'smpl_{split}.npz')['body_pose'] for split in ('train', 'val')
    ]
    rows = np.concatenate(smpl)
    assert len(np.unique(rows, axis=0)) == len(rows)
