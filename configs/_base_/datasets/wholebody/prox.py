# PROX.
prox = dict(
    type='HumanDataset',
    name='prox',
    ann_file='preprocessed_datasets/prox_train_smplx_new.npz',
    img_dir='PROX',
    image_hw=(1080, 1920),
)
