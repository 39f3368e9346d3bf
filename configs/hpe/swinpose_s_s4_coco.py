# python tools/train.py configs/hpe/swinpose_s_s4_coco.py
# COCO val, 256x192, 56.4 AP person boxes: 74.5 AP (paper, arXiv 2510.12660). Not run by us yet.
_base_ = './swinpose_s_s3_coco.py'

model = dict(backbone=dict(num_stages=4), neck=dict(in_channels=768, in_stride=32))
