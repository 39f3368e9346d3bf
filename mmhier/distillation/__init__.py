"""Small models that learn from large ones; see ``docs/distillation.md``."""

from mmhier.distillation.knowledge_token import KnowledgeTokenEstimator
from mmhier.distillation.mesh import DistilledMeshEstimator
from mmhier.distillation.pose import DistilledPoseEstimator
from mmhier.distillation.teacher import Teacher

__all__ = ['DistilledMeshEstimator', 'DistilledPoseEstimator', 'KnowledgeTokenEstimator', 'Teacher']
