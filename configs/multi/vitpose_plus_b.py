# python tools/train.py configs/multi/vitpose_plus_b.py   (128 per GPU x 8)
# COCO val, 256x192, 56.4 AP person boxes: 77.0 AP (ViTPose's repository, with its own targets, see
# docs/many_datasets.md). Not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/vitpose_plus_256x192.py',
    '../_base_/models/pose_many.py',
]

model = dict(
    backbone=dict(
        type='ViT',
        arch='base',
        img_size=(256, 192),
        drop_path_rate=0.3,
        experts=_base_.data_sets,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmpose/v1/pretrained_models/'
            'mae_pretrain_vit_base_20230913.pth',
        ),
    ),
    neck=dict(in_channels=768, in_stride=16, out_channels=768),
    head=dict(
        common=dict(in_channels=768, decoder=_base_.codec),
        heads={name: dict(out_channels=_base_.keypoints[name]) for name in _base_.data_sets},
    ),
)
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(layer_decay_rate=0.75))
auto_scale_lr = dict(base_batch_size=1024)
