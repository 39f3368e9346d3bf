# python tools/train.py configs/pretrain/mae_vit_l_images.py   (8 GPUs x 512 images)
# ViT-L on pictures of data/imagenet/train; not run by us. For vitpose_l_coco, --cfg-options
# model.backbone.init_cfg.checkpoint=work_dirs/mae_vit_l_images/epoch_1600.pth
_base_ = [
    '../_base_/pretrain_runtime.py',
    '../_base_/schedules/mae_1600e.py',
    '../_base_/datasets/images_224x224.py',
    '../_base_/models/mae.py',
]

model = dict(
    backbone=dict(arch=dict(embed_dims=1024, num_layers=24, num_heads=16, feedforward_channels=4096)),
    neck=dict(embed_dim=1024),
)
