# People of COCO as 224 x 224 crops, without their labels: for pre-training.
data_root = 'data/coco/'

train_pipeline = [
    dict(type='LoadCheckedImage', on_error='skip'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', scale_factor=(0.6, 1.4), rotate_prob=0.0),
    dict(type='TopdownAffine', input_size=(224, 224)),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CheckedCocoDataset',
        data_root=data_root,
        data_mode='topdown',
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline,
    ),
)
