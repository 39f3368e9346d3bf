# python tools/train.py configs/hpe/convnextpose_t_s3_coco.py          (64 per GPU x 8; pip install timm)
# COCO val: not run by us yet. An encoder that no paper has truncated, through timm.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedBackbone',
        backbone=dict(type='timm', name='convnext_tiny', drop_path_rate=0.2),
        num_stages=3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth',
        ),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384, decoder=_base_.codec),
)
