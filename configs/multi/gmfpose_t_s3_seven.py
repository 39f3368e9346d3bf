# python tools/train.py configs/multi/gmfpose_t_s3_seven.py   (64 per GPU x 8)
# COCO, AIC, MPII, CrowdPose, AP-10K, APT-36K and COCO-WholeBody: not run by us yet.
# Initial weights: as of configs/hpe/gmfpose_t_s3_coco.py.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/vitpose_210e.py',
    '../_base_/datasets/seven_256x192.py',
    '../_base_/models/pose_many.py',
]

model = dict(
    backbone=dict(
        type='TruncatedGMF',
        arch='tiny',
        num_stages=3,
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/groupmixformer_tiny.pth'),
    ),
    neck=dict(in_channels=200, in_stride=16, out_channels=200),
    head=dict(
        common=dict(in_channels=200, decoder=_base_.codec),
        heads={name: dict(out_channels=_base_.keypoints[name]) for name in _base_.data_sets},
    ),
)
