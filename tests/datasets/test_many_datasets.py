"""Several data sets in a run: each with its keypoints, each sample with its name."""

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS

from mmhier.testing.pose_sets import write_pose_sets


@pytest.fixture(scope='module')
def sets(tmp_path_factory, repo_root):
    """The training data sets of the configs, of two people each."""
    init_default_scope('mmpose')
    cfg = Config.fromfile(repo_root / 'configs' / '_base_' / 'datasets' / 'many_256x192.py')
    folder = tmp_path_factory.mktemp('sets')
    write_pose_sets(folder, cfg.train_sets, cfg.keypoints)
    for described in cfg.train_sets.values():
        described.data_root = str(folder / described.data_root)
    return cfg.train_sets, cfg.keypoints


def test_each_sample_has_the_targets_of_its_data_set(sets):
    described, keypoints = sets
    data = DATASETS.build(dict(type='ManyDatasets', datasets=described))
    assert len(data) == 2 * len(described) == 14
    names = []
    for index in range(len(data)):
        sample = data[index]['data_samples']
        name = sample.metainfo['dataset_name']
        names.append(name)
        assert sample.gt_fields.heatmaps.shape == (keypoints[name], 64, 48)
        assert sample.gt_instance_labels.keypoint_weights.shape == (1, keypoints[name])
        assert len(sample.metainfo['flip_indices']) == keypoints[name]
    assert names == [name for name in described for _ in range(2)]
    assert {name: meta['num_keypoints'] for name, meta in data.metainfo['datasets'].items()} == {
        name: keypoints[name] for name in described
    }
    with pytest.raises(IndexError, match='sample 14 of 14'):
        data[14]


def test_without_data_sets():
    init_default_scope('mmpose')
    for given in ({}, [dict(type='AicDataset')]):
        with pytest.raises(ValueError, match='a dictionary of names and data sets'):
            DATASETS.build(dict(type='ManyDatasets', datasets=given))
