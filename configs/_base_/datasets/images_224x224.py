# Pictures of a folder and of the folders in it (ImageNet's training images), 224 x 224: for pre-training.
data_root = 'data/imagenet/'

train_pipeline = [
    dict(type='LoadCheckedImage', on_error='skip'),
    dict(
        type='mmpretrain.RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0), interpolation='bicubic'
    ),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(type='mmpretrain.PackInputs'),
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmpretrain.CustomDataset',
        data_root=data_root,
        data_prefix=dict(img_path='train/'),
        with_label=False,
        pipeline=train_pipeline,
    ),
)
