# python tools/train.py configs/hpe/gmfpose_b_s3_coco.py
# COCO val: not run by us yet.
# Initial weights: no direct link exists. Take groupmixformer_base.pth from the links in the README of
# https://github.com/AILab-CVC/GroupMixFormer and put it where init_cfg says.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedGMF',
        arch='base',
        num_stages=3,
        drop_path_rate=0.5,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/groupmixformer_base.pth'),
    ),
    neck=dict(in_channels=320, in_stride=16, out_channels=320),
    head=dict(in_channels=320, decoder=_base_.codec),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
