# python tools/train.py configs/wholebody/smplerx_b_mix32.py          (32 per GPU)
# The model of the SMPLer-X paper; MPE there 74.3 mm (its README). Not run by us.
# On how many GPUs it was trained is not published.
# Initial weights: the encoder of a model of configs/hpe/vitpose_b_coco.py, or a release of ViTPose.
_base_ = '../_base_/smplerx_mixed.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.3,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_b_coco.pth'),
    ),
    head=dict(in_channels=768),
)
