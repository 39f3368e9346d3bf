# Synthetic people as crops of 128 (h) x 96 (w), without their labels: pre-training within minutes on a CPU.
_base_ = './synth_crops_128x128.py'

train_pipeline = [
    dict(type='LoadCheckedImage', on_error='skip'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_factor=0.1, scale_factor=(0.8, 1.2), rotate_prob=0.0),
    dict(type='TopdownAffine', input_size=(96, 128)),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
