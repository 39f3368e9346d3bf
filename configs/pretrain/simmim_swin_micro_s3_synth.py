# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/pretrain/simmim_swin_micro_s3_synth.py
# The encoder of swinpose_micro_s3_synth; not run by us at this length.
_base_ = [
    '../_base_/pretrain_runtime.py',
    '../_base_/schedules/simmim_800e.py',
    '../_base_/datasets/synth_crops_128x96.py',
    '../_base_/models/masked_images.py',
]

model = dict(
    backbone=dict(
        type='TruncatedSwin',
        arch=dict(embed_dims=32, depths=[1, 2, 4, 1], num_heads=[1, 2, 4, 8], window_size=4),
        num_stages=3,
        drop_path_rate=0.0,
    ),
    mask_patch=16,
)

max_epochs = 40
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=50, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
