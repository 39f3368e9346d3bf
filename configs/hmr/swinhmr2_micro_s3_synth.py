# make quickstart-full                                                                        (128x96 crops)
# python tools/train.py configs/hmr/swinhmr2_micro_s3_synth.py
# Not run by us since its decoder became smaller; make quickstart has swinhmr2_micro_s3_finetune.
# Initial weights: the encoder of the pose model, trained with configs/hpe/swinpose_micro_s3_synth.py.
_base_ = '../_base_/hmr2_synth.py'

model = dict(
    data_preprocessor=dict(type='MeshDataPreprocessor', shrink=2),
    backbone=dict(
        type='TruncatedSwin',
        arch=dict(embed_dims=32, depths=[1, 2, 4, 1], num_heads=[1, 2, 4, 8], window_size=4),
        num_stages=3,
        drop_path_rate=0.0,
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/swinpose_micro_s3_synth/epoch_16.pth'),
    ),
    neck=dict(in_channels=128, in_stride=16, out_channels=128),
    head=dict(
        _delete_=True,
        type='HMR2Head',
        in_channels=128,
        readout_gain=0.01,
        map_positions=True,
        arch=dict(embed_dims=192, num_layers=3, num_heads=12, head_dims=16, feedforward_channels=512),
    ),
)

train_pipeline = [
    dict(type='LoadMeshImage'),
    dict(
        type='RandomMeshBox',
        aspect_wh=(192, 256),
        shift=0.05,
        scale=0.15,
        rotation_chance=0.0,
        extreme_crop_chance=0.0,
    ),
    dict(type='MeshAffine'),
    dict(type='PackMeshInputs'),
]
train_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)

max_epochs = 14
train_cfg = dict(max_epochs=max_epochs, val_interval=7)
optim_wrapper = dict(generator=dict(optimizer=dict(lr=7e-4)))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=1))
