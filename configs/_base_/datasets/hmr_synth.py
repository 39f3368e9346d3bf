# Synthetic people with exact bodies: mmhier synth data/synth --train 20000 --val 500 --seed 0
# Crops as in evaluation, augmented as for COCO: less than HMR2.0 does, which trains for much longer.
data_root = 'data/synth/'

train_pipeline = [
    dict(type='LoadMeshImage'),
    dict(
        type='RandomMeshBox', aspect_wh=(192, 256), shift=0.05, rotation_chance=0.6, extreme_crop_chance=0.0
    ),
    dict(type='MeshAffine'),
    dict(type='RandomChannelScale', scale=0.2, rounded=True),
    dict(type='PackMeshInputs'),
]
val_pipeline = [
    dict(type='LoadMeshImage'),
    dict(type='MeshBox', aspect_wh=(192, 256)),
    dict(type='MeshAffine'),
    dict(type='PackMeshInputs'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='SyntheticMeshDataset', data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='SyntheticMeshDataset', data_root=data_root, split='val', test_mode=True, pipeline=val_pipeline
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='MeshMetric',
    body_model='open',
    datasets=dict(synth=dict(measures=['joints', 'mesh', 'image'], gender='open body', boxes='visible mask')),
)
test_evaluator = val_evaluator
