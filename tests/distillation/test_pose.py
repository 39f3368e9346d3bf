import json

import pytest
import torch

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.distillation import Teacher
from mmhier.engine.preflight import check_run
from mmhier.inference.estimators import load_estimator


def weights(path):
    return load_checkpoint_file(path)['state_dict']


def test_loss_is_that_of_the_student_and_the_distance_to_the_teacher(build, batch):
    student, plain = build('student', **{'model.teacher_weight': 3.0}), build('plain')
    plain.load_state_dict(student.state_dict())
    data = batch(student)
    for model in (student, plain):
        model.eval()
    losses, alone = student(**data, mode='loss'), plain(**data, mode='loss')
    assert torch.equal(losses['loss_kpt'], alone['loss_kpt'])
    teacher = load_estimator('teacher.py', 'teacher.pth', 'cpu').model
    difference = student(data['inputs'], None, 'tensor') - teacher(data['inputs'], None, 'tensor')
    assert losses['loss_teacher'].item() == pytest.approx(3 * difference.square().mean().item(), rel=1e-5)
    assert losses['loss_teacher'] > 0 and set(losses) == {*alone, 'loss_teacher'}


def test_the_teacher_learns_nothing_and_is_no_part_of_the_student(build, batch):
    student = build('student').train()
    sum(loss for name, loss in student(**batch(student), mode='loss').items() if 'loss' in name).backward()
    teacher = student.teacher.network()
    assert not teacher.training and all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())
    own = {id(parameter) for parameter in student.parameters()}
    assert not own & {id(parameter) for parameter in teacher.parameters()}
    assert student.state_dict().keys() == build('plain').state_dict().keys()


def test_the_gradient_is_that_of_both_losses(build, batch):
    """With annotations that weigh nothing, the student still learns."""
    student = build('student').train()
    data = batch(student)
    for sample in data['data_samples']:
        sample.gt_instance_labels.keypoint_weights.zero_()
    losses = student(**data, mode='loss')
    assert losses['loss_kpt'] == 0 and losses['loss_teacher'] > 0


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'model.head.out_channels': 5}, r'out_channels.* is 5, that of the teacher teacher.py 17'),
        ({'model.head.decoder.sigma': 2.0}, r'decoder.sigma is 2.0'),
        ({'model.head.decoder.input_size': (192, 256)}, r'input_size is \(192, 256\)'),
        ({'model.data_preprocessor.mean': [0, 0, 0]}, r'data_preprocessor.mean is \(0, 0, 0\)'),
        ({'model.data_preprocessor.bgr_to_rgb': False}, 'data_preprocessor.channel_conversion'),
        ({'model.teacher.config': 'swinhmr2_micro_s3_synth'}, 'a pose model learns from heatmaps'),
        ({'model.teacher.checkpoint': 'none.pth'}, 'none.pth does not exist'),
    ],
)
def test_what_does_not_fit_is_said(build, batch, changes, words):
    student = build('student', **changes)
    data = batch(student)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        student(**data, mode='loss')


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'model.teacher_weight': 0}, 'teacher_weight must be a number above 0'),
        ({'model.teacher.chekpoint': 'x'}, 'chekpoint'),
        ({'model.teacher.precision': 'double'}, "one of .*'half', 'single'.*got 'double'"),
    ],
)
def test_wrong_settings_are_refused(build, changes, words):
    with pytest.raises(ValueError, match=words):
        build('student', **changes)


def test_images_of_another_size_are_refused(build):
    student = build('student')
    with pytest.raises(ValueError, match=r'images of 128 x 96 \(h, w\), the student gets 96 x 96'):
        student.teacher.targets(torch.zeros(1, 3, 96, 96), [None])


def test_training_from_a_shell_and_what_it_leaves(school, build, monkeypatch):
    """The checkpoint is the plain student's; nobody who uses it needs the teacher."""
    school.run(school.train, 'student.py')
    checkpoint = school.folder / 'work_dirs/student/iter_4.pth'
    monkeypatch.setattr(Teacher, 'network', None)
    models = [load_estimator(f'{name}.py', checkpoint, 'cpu').model for name in ('plain', 'student')]
    images = torch.randn(1, 3, 128, 96)
    with torch.inference_mode():
        one, other = (model(images, None, 'tensor') for model in models)
    assert torch.equal(one, other) and type(models[1]) is type(models[0])
    student = build('student').eval()
    student.load_state_dict(weights(checkpoint))
    assert torch.equal(student(images, None, 'tensor'), one), 'as mmhier test does'


def test_missing_weights_of_the_teacher_are_said_before_anything_is_built(reads):
    cfg = reads('student')
    cfg.model.teacher.checkpoint = 'none.pth'
    with pytest.raises(FileNotFoundError, match=r'none.pth does not exist.*model.teacher.checkpoint=FILE'):
        check_run(cfg, ('train_dataloader',))
    check_run(cfg, ('test_dataloader',))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['plain', 'student'])
def test_evaluation_from_a_shell_without_the_teacher(school, name):
    school.run(school.train, 'student.py', '--work-dir', 'evaluated')
    hidden = (school.folder / 'teacher.pth').rename(school.folder / 'hidden.pth')
    try:
        school.run(school.test, f'{name}.py', 'evaluated/iter_4.pth', '--out', f'{name}.json')
    finally:
        hidden.rename(school.folder / 'teacher.pth')
    assert 'coco/AP' in json.loads((school.folder / f'{name}.json').read_text())


@pytest.mark.slow
def test_resuming_is_exact_with_a_cache_too(school):
    """Also when the cache has been filled meanwhile, and when it has been lost."""
    folder = school.folder
    school.run(school.train, 'cached.py', '--work-dir', 'whole')
    kept = sorted((folder / 'cache').rglob('*.npz'))
    assert 8 <= len(kept) <= 16
    for number, path in enumerate(kept):
        if number % 2:
            path.unlink()
    (folder / 'part').mkdir()
    school.run(school.train, 'cached.py', '--work-dir', 'part', '--resume', 'whole/iter_2.pth')
    one, other = (weights(folder / name / 'iter_4.pth') for name in ('whole', 'part'))
    assert one and all(torch.equal(one[name], other[name]) for name in one)
