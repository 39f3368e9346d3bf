# BEDLAM; its hands are relative to flat ones; every fifth person.
bedlam = dict(
    type='HumanDataset',
    name='bedlam',
    ann_file='preprocessed_datasets/bedlam_train.npz',
    img_dir='BEDLAM',
    interval=5,
    flat_hands='smplx_neutral',
)
