# python tools/train.py configs/hmr/gmfhmr2_t_s2_mixed.py
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
_base_ = './gmfhmr2_t_s3_mixed.py'

model = dict(
    backbone=dict(num_stages=2, init_cfg=dict(checkpoint='pretrained/gmfpose_t_s2_coco.pth')),
    neck=dict(in_channels=160, in_stride=8),
)
