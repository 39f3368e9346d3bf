# SimMIM for any encoder that says what it returns; a leaf sets it.
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    mask_patch=32,
    mask_ratio=0.6,
)
