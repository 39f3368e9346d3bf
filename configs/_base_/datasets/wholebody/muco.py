# MuCo-3DHP.
muco = dict(
    type='HumanDataset',
    name='muco',
    ann_file='preprocessed_datasets/muco3dhp_train.npz',
    img_dir='MuCo',
    image_hw=(1024, 1024),
)
