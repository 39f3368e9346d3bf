# OCHuman, bodies of EFT.
ochuman = dict(
    type='HumanDataset',
    name='ochuman',
    ann_file='preprocessed_datasets/eft_ochuman.npz',
    img_dir='OCHuman',
)
