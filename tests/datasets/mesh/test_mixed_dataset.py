"""The mix: exact weights, everybody once per round, the same draws however a run is cut into processes."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmhier.datasets.mesh import ConcatMeshDataset, HumanDataset
from mmhier.datasets.mesh.mesh_dataset import Draw, MeshDataset
from mmhier.datasets.mesh.mixed_dataset import HMR2_WEIGHTS, DrawSampler, MixedDataset
from mmhier.testing.human_data import write_human_data

OFFICIAL_TOTALS = {5: 750_000, 10: 1_500_000, 20: 3_000_000, 32: 4_500_000}


class Numbers(MeshDataset):
    """Samples that are their number and a random one."""

    def __init__(self, name, size):
        super().__init__(name)
        self.size = size

    def __len__(self):
        return self.size

    def get_data_info(self, index):
        return dict(name=self.name, index=index)

    def fetch(self, index, rng=None):
        return self.name, index, rng.integers(1 << 40)


def mix(sizes=(30, 500, 1500), weights=(0.5, 0.3, 0.2), **kwargs):
    return MixedDataset([Numbers(f'd{n}', size) for n, size in enumerate(sizes)], weights, **kwargs)


def numbers_of(rank, world_size, monkeypatch, count=None, **kwargs):
    """What a process draws."""
    monkeypatch.setattr('mmhier.datasets.mesh.mixed_dataset.get_dist_info', lambda: (rank, world_size))
    sampler = DrawSampler(mix(epoch_size=103), seed=4, **kwargs)
    return [draw.number for draw, _ in zip(sampler, range(count or 10**9))]


def test_published_weights_are_kept_exactly():
    assert sum(HMR2_WEIGHTS.values()) == pytest.approx(1)
    names = list(HMR2_WEIGHTS)
    mixed = MixedDataset([Numbers(name, 50 + n) for n, name in enumerate(names)], HMR2_WEIGHTS)
    for total in (1000, 5000):
        drawn = Counter(mixed.locate(Draw(0, number))[0] for number in range(total))
        for number, name in enumerate(names):
            assert abs(drawn[number] - total * HMR2_WEIGHTS[name]) <= 1


def test_awkward_weights_are_kept_too():
    mixed = mix(weights=(1e-3, 1 / 3, 2 / 3))
    total = 7 * mixed._block
    drawn = Counter(mixed.locate(Draw(0, number))[0] for number in range(total))
    for number, share in enumerate(mixed.shares):
        assert abs(drawn[number] - total * share) <= 1


def test_everybody_once_per_round_in_an_order_that_changes():
    mixed = mix()
    seen = {0: [], 1: [], 2: []}
    for number in range(4000):
        dataset, sample = mixed.locate(Draw(1, number))
        seen[dataset].append(sample)
    for dataset, size in enumerate((30, 500, 1500)):
        rounds = [
            seen[dataset][start : start + size] for start in range(0, len(seen[dataset]) - size + 1, size)
        ]
        assert all(sorted(one) == list(range(size)) for one in rounds)
    first, second = seen[0][:30], seen[0][30:60]
    assert first != second
    assert first != sorted(first)


def test_data_sets_are_interleaved():
    chosen = [mix().locate(Draw(0, number))[0] for number in range(100)]
    assert len(set(chosen[:20])) == 3


def test_a_draw_depends_on_seed_and_number_only():
    one, other = mix(), mix()
    numbers = np.random.default_rng(0).integers(0, 100_000, 50).tolist()
    backwards = {number: other[Draw(5, number)] for number in reversed(numbers)}
    assert all(one[Draw(5, number)] == backwards[number] for number in numbers)
    assert any(one[Draw(6, number)] != backwards[number] for number in numbers)
    augmentations = {one[Draw(5, number)][2] for number in numbers}
    assert len(augmentations) == len(set(numbers))


def test_by_default_everybody_is_equally_likely():
    np.testing.assert_allclose(mix(weights=None).shares, np.array([30, 500, 1500]) / 2030)


@pytest.mark.parametrize('weights', [(1, 2), (1, 0, 1), {'d0': 1, 'd1': 1}, {'d0': 1, 'd1': 1, 'x': 1}])
def test_weights_that_do_not_belong_to_the_data_sets(weights):
    with pytest.raises(ValueError, match='weights'):
        mix(weights=weights)


def test_processes_draw_disjoint_numbers_of_equal_count(monkeypatch):
    drawn = [numbers_of(rank, 4, monkeypatch, infinite=False) for rank in range(4)]
    assert [len(numbers) for numbers in drawn] == [25] * 4
    assert sorted(chain(*drawn)) == list(range(100))
    endless = [numbers_of(rank, 4, monkeypatch, count=300) for rank in range(4)]
    assert sorted(chain(*endless)) == list(range(1200))


def test_epochs_follow_one_another():
    sampler = DrawSampler(mix(epoch_size=103), seed=4, infinite=False)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs += [draw.number for draw in sampler]
    assert epochs == list(range(309))


@pytest.mark.parametrize('num_workers', [0, 1, 2])
def test_workers_change_nothing(num_workers):
    mixed = mix()
    loader = DataLoader(
        mixed,
        batch_size=4,
        sampler=DrawSampler(mixed, seed=2, infinite=True),
        num_workers=num_workers,
        collate_fn=list,
    )
    batches = [batch for batch, _ in zip(loader, range(5))]
    assert list(chain(*batches)) == [mixed[Draw(2, number)] for number in range(20)]


def test_global_random_state_has_no_influence():
    values = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        values.append(mix()[Draw(2, 7)])
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ('count', 'total'), [(5, 750_000), (10, 1_500_000), (20, 3_000_000), (32, 4_500_000)]
)
def test_balanced_mixes_of_smplerx(count, total):
    """Every data set gives the same number of the official total, small and large ones alike."""
    sizes = [37 * (number + 1) for number in range(count)]
    mixed = MixedDataset([Numbers(f'd{n}', size) for n, size in enumerate(sizes)], 'balanced', total)
    assert len(mixed) == total
    assert (mixed._drawn(total) == total // count).all() and total % count == 0
    drawn = Counter(mixed.locate(Draw(0, number))[0] for number in range(mixed._block))
    assert max(drawn.values()) - min(drawn.values()) <= 1 and len(drawn) == count


def test_concatenated_is_the_default():
    sizes = (30, 500, 1500)
    assert mix(sizes, 'concatenated').shares.tolist() == mix(sizes, None).shares.tolist()
    assert mix(sizes, 'balanced').shares.tolist() == [1 / 3] * 3
    with pytest.raises(ValueError, match="weights='balance': expected numbers or one of balanced"):
        mix(sizes, 'balance')


def test_bodies_and_whole_bodies_do_not_mix(tmp_path):
    write_human_data(tmp_path / 'x.npz')
    whole = HumanDataset('whole', str(tmp_path / 'x.npz'))
    for mixing in (MixedDataset, ConcatMeshDataset):
        with pytest.raises(ValueError, match='body: 44 joints; whole: 137 joints.*read all of them'):
            mixing([Numbers('body', 30), whole])
    assert len(MixedDataset([whole, whole])) == 10
