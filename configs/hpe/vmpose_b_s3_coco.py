# python tools/train.py configs/hpe/vmpose_b_s3_coco.py
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
        arch='base',
        num_stages=3,
        drop_path_rate=0.6,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/'
            'vssm_base_0229_ckpt_epoch_237.pth',
        ),
    ),
    neck=dict(in_channels=512, in_stride=16, out_channels=512),
    head=dict(in_channels=512, decoder=_base_.codec),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
