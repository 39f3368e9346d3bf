# Pictures of a folder and of the folders in it (ImageNet's training images), 224 x 224: for pre-training.
data_root = 'data/imagenet/'

train_pipeline = [
    dict(type='LoadCheckedImage', on_error='skip'),
    dict(type='RandomResizedPicture', input_size=(224, 224), area=(0.2, 1.0)),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='PictureFolder',
        data_root=data_root,
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
