# python tools/train.py configs/hpe/vmpose_b_s2_coco.py
# COCO val: not run by us yet.
_base_ = './vmpose_b_s3_coco.py'

model = dict(backbone=dict(num_stages=2), neck=dict(in_channels=256, in_stride=8))
