# python tools/train.py configs/ablation/vitpose_b_224x224.py          (64 per GPU x 8)
# COCO val, 224x224, 56.4 AP person boxes: not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/coco_224x224.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='ViT',
        arch='base',
        img_size=(224, 224),
        drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_base_20230913.pth',
        ),
    ),
    neck=dict(in_channels=768, in_stride=16, out_channels=768),
    head=dict(in_channels=768, decoder=_base_.codec),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
