# python tools/train.py configs/hpe/gmfpose_b_s4_coco.py
# COCO val: not run by us yet.
_base_ = './gmfpose_b_s3_coco.py'

model = dict(backbone=dict(num_stages=4), neck=dict(in_channels=480, in_stride=32))
