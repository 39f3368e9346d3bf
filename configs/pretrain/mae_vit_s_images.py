# python tools/train.py configs/pretrain/mae_vit_s_images.py   (8 GPUs x 512 images)
# ViT-S on pictures of data/imagenet/train; not run by us. For vitpose_s_coco, --cfg-options
# model.backbone.init_cfg.checkpoint=work_dirs/mae_vit_s_images/epoch_1600.pth
_base_ = [
    '../_base_/pretrain_runtime.py',
    '../_base_/schedules/mae_1600e.py',
    '../_base_/datasets/images_224x224.py',
    '../_base_/models/mae.py',
]

model = dict(
    backbone=dict(arch=dict(embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536)),
    neck=dict(embed_dim=384),
)
