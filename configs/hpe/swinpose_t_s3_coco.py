# python tools/train.py configs/hpe/swinpose_t_s3_coco.py
# COCO val: not run by us yet.
_base_ = './swinpose_s_s3_coco.py'

model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.2,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
            'swin_tiny_patch4_window7_224.pth',
        ),
    ),
)
