# UP-3D.
up3d = dict(
    type='HumanDataset',
    name='up3d',
    ann_file='preprocessed_datasets/up3d_trainval.npz',
    img_dir='UP3D',
)
