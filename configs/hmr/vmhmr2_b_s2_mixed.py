# python tools/train.py configs/hmr/vmhmr2_b_s2_mixed.py
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
_base_ = './vmhmr2_b_s3_mixed.py'

model = dict(
    backbone=dict(num_stages=2, init_cfg=dict(checkpoint='pretrained/vmpose_b_s2_coco.pth')),
    neck=dict(in_channels=256, in_stride=8),
)
