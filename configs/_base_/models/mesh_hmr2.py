# Encoder -> 1/16 resolution -> HMR2.0's decoder -> SMPL, with HMR2.0's losses and adversarial prior
# (arXiv 2305.20091; for bodies without a pelvis it is not the official loss, see MeshLoss.require_pelvis).
# A leaf names the encoder, its widths and, if not the small one, the decoder.
model = dict(
    type='TopdownMeshEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    neck=dict(type='ResolutionNeck'),
    head=dict(type='HMR2Head', arch='small'),
    # SMPL itself: mmhier body-model setup FILE_OR_ZIP. Without it, 'open' is the licence-free body.
    body_model='neutral',
    # Sums over the batch, for 48 people per GPU; reference_batch=48 weighs people so at any batch size.
    loss=dict(type='MeshLoss', reference_batch=None),
    discriminator=dict(type='PoseDiscriminator'),
    # The official code draws two real bodies per predicted one and divides by the number of the latter.
    adversarial_loss=dict(type='AdversarialLoss', weight=0.0005, double_real_weight=True),
    # Its ann_file lies with the training data: see hmr2_mixed.py.
    mocap=dict(type='MocapDataset'),
)
