# python tools/train.py configs/pretrain/mae_vit_b_coco_crops.py   (8 GPUs x 512 images)
# ViT-B on people of COCO; not run by us. For vitpose_b_coco, --cfg-options
# model.backbone.init_cfg.checkpoint=work_dirs/mae_vit_b_coco_crops/epoch_1600.pth
_base_ = [
    '../_base_/pretrain_runtime.py',
    '../_base_/schedules/mae_1600e.py',
    '../_base_/datasets/coco_crops_224x224.py',
    '../_base_/models/mae.py',
]

model = dict(
    backbone=dict(arch=dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072)),
    neck=dict(embed_dim=768),
)
