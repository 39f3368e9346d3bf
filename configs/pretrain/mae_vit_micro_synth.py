# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/pretrain/mae_vit_micro_synth.py
# The encoder of vitpose_micro_synth on crops of 128 x 128; a short run: docs/pretraining.md.
_base_ = [
    '../_base_/pretrain_runtime.py',
    '../_base_/schedules/mae_1600e.py',
    '../_base_/datasets/synth_crops_128x128.py',
    '../_base_/models/mae.py',
]

model = dict(
    backbone=dict(
        arch=dict(embed_dims=96, num_layers=4, num_heads=4, feedforward_channels=384), img_size=128
    ),
    neck=dict(embed_dim=96, num_patches=64, decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=4),
)

max_epochs = 40
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=50, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
