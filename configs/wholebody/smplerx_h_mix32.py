# python tools/train.py configs/wholebody/smplerx_h_mix32.py          (16 per GPU x 16)
# The model of the SMPLer-X paper; MPE there 63.0 mm (its README). Not run by us.
# Initial weights: the encoder of a model of configs/hpe/vitpose_h_coco.py, or a release of ViTPose.
_base_ = '../_base_/smplerx_mixed.py'

model = dict(
    backbone=dict(
        arch='huge',
        drop_path_rate=0.55,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_h_coco.pth'),
    ),
    head=dict(in_channels=1280),
)

train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(base_batch_size=256)
