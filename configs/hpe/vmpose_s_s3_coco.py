# python tools/train.py configs/hpe/vmpose_s_s3_coco.py
# COCO val: not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedVMamba',
        arch='small',
        num_stages=3,
        drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/'
            'vssm_small_0229_ckpt_epoch_222.pth',
        ),
    ),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384, decoder=_base_.codec),
)
