# MTP.
mtp = dict(
    type='HumanDataset',
    name='mtp',
    ann_file='preprocessed_datasets/mtp_smplx_train.npz',
    img_dir='MTP',
)
