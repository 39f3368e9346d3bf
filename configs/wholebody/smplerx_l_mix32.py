# python tools/train.py configs/wholebody/smplerx_l_mix32.py          (32 per GPU)
# The model of the SMPLer-X paper; MPE there 66.2 mm (its README). Not run by us.
# On how many GPUs it was trained is not published.
# Initial weights: the encoder of a model of configs/hpe/vitpose_l_coco.py, or a release of ViTPose.
_base_ = '../_base_/smplerx_mixed.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.5,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vitpose_l_coco.pth'),
    ),
    head=dict(in_channels=1024),
)
