# python tools/train.py configs/distill/swinhmr2_t_s3_from_hmr2_h.py          (48 per GPU x 8)
# 3DPW, Human3.6M, LSP-Extended, COCO, PoseTrack: not run by us yet.
# Teacher: a model of configs/hmr/hmr2_h_mixed.py in pretrained/ or work_dirs/, or a released one.
_base_ = '../hmr/swinhmr2_t_s3_mixed.py'

model = dict(type='DistilledMeshEstimator', teacher=dict(config='hmr2_h_mixed'))
