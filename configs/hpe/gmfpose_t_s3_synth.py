# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/hpe/gmfpose_t_s3_synth.py                    (random initial weights)
# Held-out synthetic people: not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/synth_cosine.py',
    '../_base_/datasets/synth_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(type='TruncatedGMF', arch='tiny', num_stages=3, drop_path_rate=0.1),
    neck=dict(in_channels=200, in_stride=16, out_channels=200),
    head=dict(in_channels=200, decoder=_base_.codec),
)
