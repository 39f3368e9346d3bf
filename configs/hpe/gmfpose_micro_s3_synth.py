# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/hpe/gmfpose_micro_s3_synth.py           (random initial weights, 128x96 crops)
# Held-out synthetic people: not run by us at this length.
_base_ = './swinpose_micro_s3_synth.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TruncatedGMF',
        arch=dict(embed_dims=[30, 60, 120, 160], depths=[1, 2, 4, 1], mlp_ratios=[4, 4, 4, 4]),
        num_stages=3,
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=120, in_stride=16, out_channels=120),
    head=dict(in_channels=120),
)
