# SSP-3D.
ssp3d = dict(
    type='HumanDataset',
    name='ssp3d',
    ann_file='preprocessed_datasets/ssp3d_230525_311.npz',
    img_dir='SSP3D',
    image_hw=(512, 512),
)
