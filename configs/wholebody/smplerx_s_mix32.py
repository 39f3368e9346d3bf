# python tools/train.py configs/wholebody/smplerx_s_mix32.py          (32 per GPU)
# The model of the SMPLer-X paper; MPE there 82.6 mm (its README). Not run by us.
# On how many GPUs it was trained is not published.
# Initial weights: the encoder of a model of configs/hpe/vitpose_s_coco.py, or a release of ViTPose.
_base_ = '../_base_/smplerx_mixed.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_s_coco.pth'),
    ),
    head=dict(in_channels=384),
)
