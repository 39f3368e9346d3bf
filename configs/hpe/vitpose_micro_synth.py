# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/hpe/vitpose_micro_synth.py              (random initial weights, 128x96 crops)
# Held-out synthetic people: not run by us at this length.
_base_ = './swinpose_micro_s3_synth.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ViT',
        arch=dict(embed_dims=96, num_layers=4, num_heads=4),
        img_size=(128, 96),
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=96, in_stride=16, out_channels=96),
    head=dict(in_channels=96),
)
