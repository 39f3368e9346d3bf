# mmhier synth data/varied --train 16000 --val 500 --seed 20
# python tools/train.py configs/hpe/swinpose_micro_s3_varied.py                          (128x96 crops)
# What is shipped. 500 held-out scenes like these: AP 0.383, AR 0.420 (mmhier/zoo/shipped/README.md).
_base_ = './swinpose_micro_s3_synth.py'

data_root = 'data/varied/'

train_pipeline = [
    dict(type='LoadCheckedImage', on_error='skip'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_factor=0.1, scale_factor=(0.8, 1.2), rotate_prob=0.0),
    dict(type='TopdownAffine', input_size=_base_.codec.input_size, use_udp=True),
    dict(type='PhotometricDistortion'),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + _base_.val_ann_file)
test_evaluator = val_evaluator

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
