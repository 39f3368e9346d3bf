# python tools/train.py configs/hpe/vmpose_t_s3_coco.py
# COCO val, 256x192, 56.4 AP person boxes: 75.3 AP (paper, arXiv 2510.12660). Not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedVMamba',
        arch='tiny',
        num_stages=3,
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/'
            'vssm1_tiny_0230s_ckpt_epoch_264.pth',
        ),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384, decoder=_base_.codec),
)
