"""Decoders of our own; heatmap heads are MMPose's."""

from mmhier.models.heads.data_set_heads import DataSetHeads
from mmhier.models.heads.hmr2_head import HMR2Head, HMR2Prediction
from mmhier.models.heads.smplerx_head import SMPLerXHead, SMPLerXPrediction
from mmhier.models.heads.token_decoder import TokenDecoder

__all__ = [
    'DataSetHeads',
    'HMR2Head',
    'HMR2Prediction',
    'SMPLerXHead',
    'SMPLerXPrediction',
    'TokenDecoder',
]
