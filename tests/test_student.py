from mmengine.config import ConfigDict

from mmhier.student import DISTILLED, without_teacher


def test_a_student_is_an_ordinary_model():
    model = ConfigDict(
        type='DistilledPoseEstimator', teacher=dict(config='x'), teacher_weight=2, head=dict(a=1)
    )
    assert without_teacher(model) == dict(type='TopdownPoseEstimator', head=dict(a=1))
    assert isinstance(without_teacher(model), ConfigDict) and model.type == 'DistilledPoseEstimator'
    other = dict(type='TopdownPoseEstimator', head=dict())
    assert without_teacher(other) is other


def test_all_kinds_are_registered():
    from mmpose.registry import MODELS

    assert all(MODELS.get(kind) and MODELS.get(plain) for kind, plain in DISTILLED.items())
