# Truncated encoder -> 1/16 resolution -> 31 tokens by a decoder -> SMPLer-X's head -> SMPL-X. Ours, in no
# paper: SMPLer-X's encoder computes its tokens itself. Losses are SMPLer-X's without the quirks of its code.
# A leaf names the encoder and its widths.
model = dict(
    type='TopdownMeshEstimator',
    data_preprocessor=dict(
        type='MeshDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        shrink=2,
    ),
    neck=dict(type='ResolutionNeck'),
    head=dict(type='SMPLerXHead', tokens=dict(type='TokenDecoder', arch='small')),
    # SMPL-X itself: mmhier body-model setup FILE_OR_ZIP. Without it, 'open-wholebody' is free of licences.
    body_model='smplx_neutral',
    loss=dict(type='WholeBodyLoss'),
)
