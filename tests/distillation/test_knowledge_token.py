import pytest
import torch

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.inference.estimators import load_estimator

TOKEN = 'backbone.knowledge_token'


def weights(path):
    return load_checkpoint_file(path)['state_dict']


@pytest.fixture(scope='module')
def token_run(school):
    """The weights after the token has learned, by the command of the documentation."""
    school.run(school.train, 'token.py')
    return weights(school.folder / 'work_dirs/token/iter_4.pth')


def test_only_the_token_learns(school, token_run):
    teacher = weights(school.folder / 'teacher.pth')
    assert {*token_run} == {*teacher, TOKEN}
    assert all(torch.equal(token_run[name], value) for name, value in teacher.items()), 'statistics as well'
    before = weights(school.folder / 'work_dirs/token/iter_2.pth')
    assert token_run[TOKEN].shape == (1, 1, 24) and not torch.equal(token_run[TOKEN], before[TOKEN])


@pytest.mark.slow
def test_a_student_keeps_the_token_and_learns_its_projection(school, token_run):
    """Of another width than the teacher; its checkpoint is used without anything of the teacher."""
    folder = school.folder
    school.run(school.train, 'token_student.py')
    trained = weights(folder / 'work_dirs/token_student/iter_4.pth')
    assert torch.equal(trained[TOKEN], token_run[TOKEN])
    name = 'backbone.token_projection.weight'
    assert trained[name].shape == (16, 24)
    assert not torch.equal(trained[name], weights(folder / 'work_dirs/token_student/iter_2.pth')[name])
    model = load_estimator(folder / 'token_student.py', folder / 'work_dirs/token_student/iter_4.pth').model
    images = torch.randn(2, 3, 128, 96)
    with torch.inference_mode():
        ((before,), _) = model.backbone(images), model.backbone.knowledge_token.mul_(9)
        (after,) = model.backbone(images)
    assert before.shape == (2, 16, 8, 6)
    assert not torch.allclose(before, after), 'the patches look at the token'


def test_both_kinds_at_once(school, build, batch, token_run):
    """A student with a token that also learns from heatmaps."""
    teacher = dict(config='teacher.py', checkpoint='teacher.pth')
    student = build('token_student', **{'model.type': 'DistilledPoseEstimator', 'model.teacher': teacher})
    student.init_weights()
    assert torch.equal(student.backbone.knowledge_token, token_run[TOKEN])
    losses = student.train()(**batch(student), mode='loss')
    assert losses['loss_teacher'] > 0
    (losses['loss_teacher'] + losses['loss_kpt']).backward()
    assert student.backbone.knowledge_token.grad is None
    assert student.backbone.token_projection.weight.grad.abs().sum() > 0


def test_a_teacher_that_is_not_this_model_is_refused(build):
    model = build('token', **{'model.head.out_channels': 5})
    with pytest.raises(ValueError, match='not this model without its token.*head.final_layer'):
        model.init_weights()


def test_a_token_of_its_own_width_is_needed(build):
    with pytest.raises(ValueError, match='its own width, got a ViT with one of 8'):
        build('token', **{'model.backbone.knowledge_token': 8})
    with pytest.raises(ValueError, match='got a ViT without one'):
        build('token', **{'model.backbone.knowledge_token': None})


def test_a_file_without_the_token_of_the_right_width_is_refused(school, build, token_run):
    changes = {'model.backbone.init_cfg.knowledge_token': 'teacher.pth'}
    with pytest.raises(ValueError, match='teacher.pth holds no knowledge_token'):
        build('token_student', **changes).init_weights()
    with pytest.raises(ValueError, match=r'width 24: set model.backbone.knowledge_token=24 instead of 32'):
        build('token_student', **{'model.backbone.knowledge_token': 32}).init_weights()
