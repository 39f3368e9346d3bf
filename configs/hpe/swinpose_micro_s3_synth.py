# make quickstart                                                   (random initial weights, 128x96 crops)
# python tools/train.py configs/hpe/swinpose_micro_s3_synth.py
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/synth_cosine.py',
    '../_base_/datasets/synth_128x96.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(
        type='TruncatedSwin',
        arch=dict(embed_dims=32, depths=[1, 2, 4], num_heads=[1, 2, 4], window_size=4),
        num_stages=3,
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=128, in_stride=16, out_channels=128),
    head=dict(in_channels=128, deconv_out_channels=(128, 64), decoder=_base_.codec),
)
