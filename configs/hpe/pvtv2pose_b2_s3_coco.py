# python tools/train.py configs/hpe/pvtv2pose_b2_s3_coco.py          (64 per GPU x 8; see --auto-scale-lr)
# COCO val: not run by us yet. An encoder that no paper has truncated: MMPose's own PVTv2.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedBackbone',
        backbone=dict(
            type='PyramidVisionTransformerV2', embed_dims=64, num_layers=[3, 4, 6, 3], drop_path_rate=0.1
        ),
        num_stages=3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b2.pth',
        ),
    ),
    neck=dict(in_channels=320, in_stride=16, out_channels=320),
    head=dict(in_channels=320, decoder=_base_.codec),
)
