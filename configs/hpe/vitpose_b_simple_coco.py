# python tools/train.py configs/hpe/vitpose_b_simple_coco.py          (64 per GPU x 8; see --auto-scale-lr)
# COCO val, 256x192, 56.4 AP person boxes: 75.5 AP (ViTPose, arXiv 2204.12484). Not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_256x192.py',
    '../_base_/models/pose_simple.py',
]

model = dict(
    backbone=dict(
        type='ViT',
        arch='base',
        img_size=(256, 192),
        drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_base_20230913.pth',
        ),
    ),
    head=dict(in_channels=768, decoder=_base_.codec),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
