import numpy as np
import pytest
import torch

from mmhier.distillation.target_cache import TargetCache, pack, unpack
from mmhier.distillation.teacher import Teacher


def heatmaps(batch, seed=0):
    return torch.rand(batch, 3, 8, 6, generator=torch.Generator().manual_seed(seed)) - 0.3


def test_heatmaps_come_back_to_a_127th_of_their_peak(tmp_path):
    targets = dict(heatmaps=torch.cat([heatmaps(1), 0.01 * heatmaps(1, 1), torch.zeros(1, 3, 8, 6)]))
    cache = TargetCache(tmp_path, 'teacher')
    for index in range(3):
        cache.put(f'ab{index}', pack(targets, index))
    found = unpack([cache.get(f'ab{index}') for index in range(3)], torch.device('cpu'))['heatmaps']
    peaks = targets['heatmaps'].abs().amax((2, 3), keepdim=True)
    assert ((found - targets['heatmaps']).abs() <= 0.501 / 127 * peaks + 1e-9).all()
    assert (found[2] == 0).all()


def test_parameters_come_back_as_they_are(tmp_path):
    targets = dict(betas=torch.randn(2, 10), global_orient=torch.randn(2, 1, 3, 3))
    cache = TargetCache(tmp_path, 'teacher')
    cache.put('abc', pack(targets, 1))
    found = unpack([cache.get('abc')], torch.device('cpu'))
    assert all(torch.equal(found[name][0], value[1]) for name, value in targets.items())


def test_nothing_and_damage_are_none(tmp_path, caplog):
    cache = TargetCache(tmp_path, 'teacher')
    assert cache.get('abc') is None and not caplog.records
    cache.put('abc', dict(x=np.zeros(3)))
    (path,) = tmp_path.rglob('*.npz')
    path.write_bytes(path.read_bytes()[:50])
    assert cache.get('abc') is None
    assert 'the teacher is asked again' in caplog.text


class Counting(Teacher):
    """Says the mean of every crop; counts how often."""

    def __init__(self, folder, name='one', **options):
        super().__init__('none', self.say, cache=folder and str(folder), **options)
        self.asked, self.name = 0, name
        self._network = torch.nn.Linear(1, 1)
        self._network.backbone = torch.nn.Identity()

    def say(self, network, images):
        self.asked += len(images)
        return dict(betas=images.mean((2, 3)))

    def identity(self, device):
        return self.name


def test_a_crop_is_asked_for_once(tmp_path):
    teacher, images = Counting(tmp_path), torch.randn(4, 3, 8, 6)
    first = teacher.targets(images, ['a1', 'a2', 'a3', 'a4'])
    again = teacher.targets(images[[2, 0]], ['a3', 'a1'])
    assert teacher.asked == 4 and torch.equal(again['betas'], first['betas'][[2, 0]])
    mixed = teacher.targets(images[:2], ['a1', 'b9'])
    assert teacher.asked == 5 and torch.equal(mixed['betas'], images[:2].mean((2, 3)))
    assert Counting(tmp_path).targets(images, ['a1', 'a2', 'a3', 'a4'])['betas'].equal(first['betas'])


def test_another_teacher_finds_nothing_of_it(tmp_path):
    images = torch.randn(1, 3, 8, 6)
    Counting(tmp_path).targets(images, ['a1'])
    other = Counting(tmp_path, 'two')
    other.targets(images, ['a1'])
    assert other.asked == 1


def test_a_cache_needs_keys(tmp_path):
    with pytest.raises(ValueError, match='RepeatedViews'):
        Counting(tmp_path).targets(torch.randn(1, 3, 8, 6), [None])


def test_half_precision_needs_a_gpu():
    teacher = Counting(None, precision='half')
    with pytest.raises(ValueError, match="precision='half' needs a GPU"):
        teacher.targets(torch.randn(1, 3, 8, 6), [None])
