# python tools/test.py configs/eval/vitpose_b_mpii.py CHECKPOINT
# MPII val: 93.3 PCKh (ViTPose). Not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/many_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='ViT',
        arch='base',
        img_size=(256, 192),
    ),
    neck=dict(in_channels=768, in_stride=16, out_channels=768),
    head=dict(in_channels=768, out_channels=_base_.keypoints['mpii'], decoder=_base_.codec),
)
test_dataloader = dict(dataset=dict(_delete_=True, **_base_.val_sets['mpii']))
test_evaluator = dict(_delete_=True, **_base_.metrics['mpii'])
test_cfg = dict()
val_dataloader = test_dataloader
val_evaluator = test_evaluator
val_cfg = test_cfg
train_dataloader = None
