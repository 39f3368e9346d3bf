"""The first half of token distillation (ViTPose, arXiv 2204.12484): a trained teacher learns one token.

The token stands before the patches of a frozen plain ViT and is all that learns, from annotated keypoints. A
student gets it by ``knowledge_token`` of :class:`mmhier.models.backbones.ViT`; it needs no teacher then.
"""

from typing import Any

from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import MODELS
from torch import nn

from mmhier.distillation.pose import heatmaps_of
from mmhier.distillation.teacher import Teacher


@MODELS.register_module()
class KnowledgeTokenEstimator(TopdownPoseEstimator):
    """A pose model whose weights are a teacher's and of which only ``backbone.knowledge_token`` learns.

    Args:
        *args: Of MMPose's estimator; the backbone has a ``knowledge_token`` of its own width.
        teacher: ``config`` and, optionally, ``checkpoint``, see :class:`mmhier.distillation.Teacher`.
        **kwargs: Of MMPose's estimator.

    Raises:
        ValueError: If the backbone has no token of its own width.
    """

    def __init__(self, *args: Any, teacher: dict, **kwargs: Any):
        super().__init__(*args, **kwargs)
        token = getattr(self.backbone, 'knowledge_token', None)
        if token is None or self.backbone.token_projection is not None:
            raise ValueError(
                'the teacher of a knowledge token is a ViT whose model.backbone.knowledge_token is its own '
                f'width, got a {type(self.backbone).__name__} '
                f'{"without one" if token is None else f"with one of {token.shape[2]}"}'
            )
        self.teacher = Teacher.of(teacher, heatmaps_of)
        self.requires_grad_(False)
        token.requires_grad_(True)

    def init_weights(self) -> None:
        """Take over the teacher's weights; the token is drawn.

        Raises:
            ValueError: If they are of another model.
        """
        own, weights = self.state_dict(), self.teacher.network().state_dict()
        different = [name for name in own if name in weights and own[name].shape != weights[name].shape]
        lacking = set(own) - set(weights) - {'backbone.knowledge_token'}
        if different or lacking or set(weights) - set(own):
            names = sorted({*different, *lacking, *(set(weights) - set(own))})
            raise ValueError(
                f'the teacher {self.teacher.config} is not this model without its token: they differ in '
                f'{", ".join(names[:4])}'
            )
        self.load_state_dict(own | weights)
        self.teacher = Teacher(self.teacher.config, heatmaps_of)  # which is not loaded a second time
        self._is_init = True

    def train(self, mode: bool = True) -> nn.Module:
        """Stay in evaluation mode: what is frozen keeps its statistics, and no path is dropped."""
        return super().train(False)
