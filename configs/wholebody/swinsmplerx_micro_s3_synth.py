# mmhier synth data/whole --train 4000 --val 300 --seed 0 --whole-body --image-size 384x384
# python tools/train.py configs/wholebody/swinsmplerx_micro_s3_synth.py                      (128x96 crops)
# Ours and unpublished: a whole-body model for a laptop, with the licence-free body. Not run by us yet.
_base_ = [
    '../_base_/wholebody_runtime.py',
    '../_base_/datasets/wholebody_synth.py',
    '../_base_/models/wholebody_truncated.py',
]

model = dict(
    data_preprocessor=dict(shrink=4),
    backbone=dict(
        type='TruncatedSwin',
        arch=dict(embed_dims=32, depths=[1, 2, 4], num_heads=[1, 2, 4], window_size=4),
        num_stages=3,
        drop_path_rate=0.0,
        init_cfg=dict(type='Pretrained', checkpoint='swinpose-micro'),
    ),
    # The head wants a map of 16 x 12, which are the cells of its grids: 1/8 of these crops.
    neck=dict(in_channels=128, in_stride=16, out_channels=128, out_stride=8),
    head=dict(
        in_channels=128,
        box_channels=32,
        tokens=dict(
            _delete_=True,
            type='TokenDecoder',
            arch=dict(embed_dims=192, num_layers=3, num_heads=12, head_dims=16, feedforward_channels=512),
        ),
    ),
    body_model='open-wholebody',
)

max_epochs = 8
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=4)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=7e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=20.0),
    constructor='LayerIdDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=1.0),
)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=16)
