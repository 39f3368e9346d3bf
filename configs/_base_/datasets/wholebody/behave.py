# BEHAVE.
behave = dict(
    type='HumanDataset',
    name='behave',
    ann_file='preprocessed_datasets/behave_train_230516_231_downsampled.npz',
    img_dir='Behave',
    image_hw=(1536, 2048),
)
