# Encoder -> 1/16 resolution -> one of ViTPose's classic decoders per data set. A leaf names the encoder, its
# widths and the data sets.
model = dict(
    type='ManyDatasetsEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    neck=dict(type='ResolutionNeck'),
    head=dict(
        type='DataSetHeads',
        heads=dict(),
        common=dict(
            type='HeatmapHead',
            deconv_out_channels=(256, 256),
            deconv_kernel_sizes=(4, 4),
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
        ),
        average='own',  # 'batch': as ViTPose+'s released code, see docs/many_datasets.md
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=False),
)
