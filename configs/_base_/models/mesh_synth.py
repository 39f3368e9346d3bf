# As mesh_hmr2.py with the licence-free body, and poses of synthetic people in the place of motion capture.
# Parameters are exact: they weigh more than in HMR2.0, whose bodies are fitted to joints.
_base_ = './mesh_hmr2.py'

model = dict(
    head=dict(readout_gain=0.01),
    body_model='open',
    loss=dict(
        reference_batch=48,
        weights=dict(keypoints_2d=0.05, keypoints_3d=0.05, global_orient=0.02, body_pose=0.02, betas=0.0025),
    ),
    adversarial_loss=dict(double_real_weight=False),
    mocap=dict(type='SyntheticPoses'),
)
