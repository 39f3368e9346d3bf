# RICH.
rich = dict(
    type='HumanDataset',
    name='rich',
    ann_file='preprocessed_datasets/rich_train_fix_betas.npz',
    img_dir='RICH',
)
