# 3DPW, poses of SMPL.
pw3d = dict(
    type='WholeBodySet',
    name='pw3d',
    kind='pw3d',
    folder='PW3D/data',
)
