# EgoBody, worn cameras.
egobody_egocentric = dict(
    type='HumanDataset',
    name='egobody_egocentric',
    ann_file='preprocessed_datasets/egobody_egocentric_train_230425_065_fix_betas.npz',
    img_dir='EgoBody',
    image_hw=(1080, 1920),
)
