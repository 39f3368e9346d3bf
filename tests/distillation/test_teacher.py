import torch

from mmhier.distillation.pose import heatmaps_of
from mmhier.distillation.teacher import Teacher


def test_loading_changes_no_random_number(school, monkeypatch):
    monkeypatch.chdir(school.folder)
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    Teacher('teacher.py', heatmaps_of, 'teacher.pth').network()
    assert torch.equal(torch.rand(5), expected)


def test_identity_follows_the_weights_and_the_config(school, monkeypatch):
    monkeypatch.chdir(school.folder)
    cpu = torch.device('cpu')
    teacher = Teacher('teacher.py', heatmaps_of, 'teacher.pth')
    first = teacher.identity(cpu)
    assert first == Teacher('teacher.py', heatmaps_of, 'teacher.pth').identity(cpu) and len(first) == 16
    with torch.no_grad():
        next(teacher.network().parameters()).mul_(1.001)
    assert teacher.identity(cpu) != first
    other = school.folder / 'other_teacher.py'
    other.write_text("_base_ = './teacher.py'\nmodel = dict(backbone=dict(arch=dict(num_heads=4)))\n")
    assert Teacher('other_teacher.py', heatmaps_of, 'teacher.pth').identity(cpu) != first, 'heads'


def test_a_distilled_model_can_teach(school, monkeypatch):
    """Its config names a teacher of its own, which is not needed."""
    monkeypatch.chdir(school.folder)
    assert Teacher('student.py', heatmaps_of, 'x').settings().model.type == 'TopdownPoseEstimator'
