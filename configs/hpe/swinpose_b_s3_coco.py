# python tools/train.py configs/hpe/swinpose_b_s3_coco.py
# COCO val: not run by us yet.
_base_ = './swinpose_s_s3_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.5,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
            'swin_base_patch4_window7_224.pth',
        ),
    ),
    neck=dict(in_channels=512, out_channels=512),
    head=dict(in_channels=512),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
