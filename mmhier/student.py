"""Which kinds of models learn from a teacher, and what they are without it.

A distilled model is its student: its checkpoints hold nothing else, and inference, export and cost see the
model that :func:`without_teacher` describes.
"""

from collections.abc import Mapping
from typing import Any

# Kind of model that learns from a teacher -> the kind that is left of it, and its arguments for learning.
DISTILLED = {
    'DistilledPoseEstimator': 'TopdownPoseEstimator',
    'DistilledMeshEstimator': 'TopdownMeshEstimator',
    'KnowledgeTokenEstimator': 'TopdownPoseEstimator',
}
LEARNING = ('teacher', 'teacher_weight', 'teacher_weights')


def without_teacher(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a model without its teacher; that of any other model as it is."""
    if model.get('type') not in DISTILLED:
        return model
    plain = type(model)({key: value for key, value in model.items() if key not in LEARNING})
    plain['type'] = DISTILLED[model['type']]
    return plain
