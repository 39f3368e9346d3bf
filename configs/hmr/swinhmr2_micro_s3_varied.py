# mmhier synth data/varied --train 16000 --val 500 --seed 20
# python tools/train.py configs/hmr/swinhmr2_micro_s3_varied.py                          (128x96 crops)
# swinhmr2_micro_s3_longer goes on from it. 500 held-out scenes like these: PA-MPJPE 122.1 mm (our log).
# Initial weights: the encoder of the pose model, trained with configs/hpe/swinpose_micro_s3_varied.py.
_base_ = './swinhmr2_micro_s3_synth.py'

data_root = 'data/varied/'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/swinpose_micro_s3_varied/epoch_8.pth')),
    mocap=dict(ann_file=data_root + 'annotations/smpl_train.npz'),
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
    dict(type='RandomChannelScale', scale=0.2, rounded=True),
    dict(type='PackMeshInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(generator=dict(optimizer=dict(lr=1e-3)))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
