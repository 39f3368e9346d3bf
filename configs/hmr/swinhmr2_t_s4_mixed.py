# python tools/train.py configs/hmr/swinhmr2_t_s4_mixed.py
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
_base_ = './swinhmr2_t_s3_mixed.py'

model = dict(
    backbone=dict(num_stages=4, init_cfg=dict(checkpoint='pretrained/swinpose_t_s4_coco.pth')),
    neck=dict(in_channels=768, in_stride=32),
)
