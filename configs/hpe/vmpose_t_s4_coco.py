# python tools/train.py configs/hpe/vmpose_t_s4_coco.py
# COCO val, 256x192, 56.4 AP person boxes: 75.2 AP (paper, arXiv 2510.12660). Not run by us yet.
_base_ = './vmpose_t_s3_coco.py'

model = dict(backbone=dict(num_stages=4), neck=dict(in_channels=768, in_stride=32))
