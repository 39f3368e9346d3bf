# python tools/train.py configs/hpe/gmfpose_s_s4_coco.py
# COCO val: not run by us yet.
_base_ = './gmfpose_s_s3_coco.py'

model = dict(backbone=dict(num_stages=4), neck=dict(in_channels=320, in_stride=32))
