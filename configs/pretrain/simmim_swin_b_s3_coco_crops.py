# python tools/train.py configs/pretrain/simmim_swin_b_s3_coco_crops.py   (8 GPUs x 256 images)
# Swin-base to S3, on people of COCO; not run by us. For swinpose_b_s3_coco, --cfg-options
# model.backbone.init_cfg.checkpoint=work_dirs/simmim_swin_b_s3_coco_crops/epoch_800.pth
_base_ = [
    '../_base_/pretrain_runtime.py',
    '../_base_/schedules/simmim_800e.py',
    '../_base_/datasets/coco_crops_256x192.py',
    '../_base_/models/masked_images.py',
]

model = dict(backbone=dict(type='TruncatedSwin', arch='base', num_stages=3, drop_path_rate=0.0))
