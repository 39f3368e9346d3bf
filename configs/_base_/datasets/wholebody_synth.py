# Synthetic whole bodies, made by the command in the head of the leaf.
# Crops as in evaluation, moved and scaled a little. Boxes of hands and face are those of visible pixels.
data_root = 'data/whole/'

train_pipeline = [
    dict(type='LoadMeshImage'),
    dict(
        type='RandomMeshBox',
        aspect_wh=(384, 512),
        shift=0.05,
        scale=0.15,
        rotation_chance=0.0,
        extreme_crop_chance=0.0,
    ),
    dict(type='MeshAffine'),
    dict(type='RandomChannelScale', scale=0.2, rounded=True),
    dict(type='PackMeshInputs'),
]
val_pipeline = [
    dict(type='LoadMeshImage'),
    dict(type='MeshBox', aspect_wh=(384, 512)),
    dict(type='MeshAffine'),
    dict(type='PackWholeBodyInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='HumanDataset',
        name='synth',
        data_root=data_root,
        ann_file='annotations/human_data_train.npz',
        padding=1.2,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='HumanDataset',
        name='synth',
        data_root=data_root,
        ann_file='annotations/human_data_val.npz',
        padding=1.2,
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='WholeBodyMetric',
    body_model='open-wholebody',
    datasets=dict(synth=dict(gender='open whole body', boxes='visible mask')),
)
test_evaluator = val_evaluator
