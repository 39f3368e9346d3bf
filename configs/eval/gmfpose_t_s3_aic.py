# python tools/test.py configs/eval/gmfpose_t_s3_aic.py CHECKPOINT
# AIC val, annotated boxes (ViTPose: its test set): not run by us yet.
# Weights: the decoder of aic of configs/multi/gmfpose_t_s3_seven.py (convert --dataset aic).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/many_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedGMF',
        arch='tiny',
        num_stages=3,
    ),
    neck=dict(in_channels=200, in_stride=16, out_channels=200),
    head=dict(in_channels=200, out_channels=_base_.keypoints['aic'], decoder=_base_.codec),
)
test_dataloader = dict(dataset=dict(_delete_=True, **_base_.val_sets['aic']))
test_evaluator = dict(_delete_=True, **_base_.metrics['aic'])
test_cfg = dict()
val_dataloader = test_dataloader
val_evaluator = test_evaluator
val_cfg = test_cfg
train_dataloader = None
