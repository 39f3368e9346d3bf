# The recipe of HMR2.0: its mix of data, benchmarks, losses and schedule. A leaf names encoder and decoder.
_base_ = [
    './hmr_runtime.py',
    './schedules/hmr2_500k.py',
    './datasets/hmr_mixed.py',
    './datasets/hmr_eval.py',
    './models/mesh_hmr2.py',
]

model = dict(mocap=dict(ann_file=_base_.data_root + 'cmu_mocap.npz'))
