# python tools/train.py configs/hmr/gmfhmr2_s_s3_mixed.py          (48 per GPU x 8)
# 35.4 PA-MPJPE on Human3.6M (paper, arXiv 2510.12660); none of the five benchmarks has been run by us yet.
# Initial weights: the encoder of a pose model, trained with configs/hpe/gmfpose_s_s3_coco.py.
_base_ = '../_base_/hmr2_mixed.py'

model = dict(
    backbone=dict(
        type='TruncatedGMF',
        arch='small',
        num_stages=3,
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/gmfpose_s_s3_coco.pth'),
    ),
    neck=dict(in_channels=320, in_stride=16, out_channels=320),
    head=dict(in_channels=320),
)
