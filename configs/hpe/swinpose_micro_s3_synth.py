# make quickstart-full                                              (random initial weights, 128x96 crops)
# python tools/train.py configs/hpe/swinpose_micro_s3_synth.py
# 300 held-out images of simple synthetic scenes: AP 0.521, AR 0.564 (our log of the same steps).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/synth_cosine.py',
    '../_base_/datasets/synth_128x96.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedSwin',
        arch=dict(embed_dims=32, depths=[1, 2, 4, 1], num_heads=[1, 2, 4, 8], window_size=4),
        num_stages=3,
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=128, in_stride=16, out_channels=128),
    head=dict(in_channels=128, deconv_out_channels=(128, 64), decoder=_base_.codec),
)

max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=1))
