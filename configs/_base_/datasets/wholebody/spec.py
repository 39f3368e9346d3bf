# SPEC, bodies of SMPL.
spec = dict(
    type='HumanDataset',
    name='spec',
    ann_file='preprocessed_datasets/spec_train_smpl.npz',
    img_dir='SPEC',
    image_hw=(1080, 1920),
)
