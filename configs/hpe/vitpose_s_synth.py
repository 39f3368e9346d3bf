# mmhier synth data/synth --train 20000 --val 500 --seed 0
# python tools/train.py configs/hpe/vitpose_s_synth.py                     (random initial weights)
# Held-out synthetic people: not run by us yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/synth_cosine.py',
    '../_base_/datasets/synth_256x192.py',
    '../_base_/models/pose_classic.py',
]

model = dict(
    backbone=dict(type='ViT', arch='small', img_size=(256, 192), drop_path_rate=0.1),
    neck=dict(in_channels=384, in_stride=16, out_channels=384),
    head=dict(in_channels=384, decoder=_base_.codec),
)
