# python tools/test.py configs/eval/vmpose_t_s3_wholebody.py CHECKPOINT
# COCO-WholeBody val, detector's boxes: not run by us yet.
# Weights: the decoder of wholebody of configs/multi/vmpose_t_s3_seven.py (convert --dataset wholebody).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/many_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedVMamba',
        arch='tiny',
        num_stages=3,
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384, out_channels=_base_.keypoints['wholebody'], decoder=_base_.codec),
)
test_dataloader = dict(dataset=dict(_delete_=True, **_base_.val_sets['wholebody']))
test_evaluator = dict(_delete_=True, **_base_.metrics['wholebody'])
test_cfg = dict()
val_dataloader = test_dataloader
val_evaluator = test_evaluator
val_cfg = test_cfg
train_dataloader = None
