# Mesh recovery from synthetic people with the licence-free body. A leaf names encoder and decoder.
_base_ = [
    './hmr_synth_runtime.py',
    './schedules/hmr2_synth.py',
    './datasets/hmr_synth.py',
    './models/mesh_synth.py',
]

model = dict(mocap=dict(ann_file=_base_.data_root + 'annotations/smpl_train.npz'))
