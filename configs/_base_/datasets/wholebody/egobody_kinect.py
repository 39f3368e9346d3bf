# EgoBody, Kinect cameras; every tenth person.
egobody_kinect = dict(
    type='HumanDataset',
    name='egobody_kinect',
    ann_file='preprocessed_datasets/egobody_kinect_train_230503_065_fix_betas.npz',
    img_dir='EgoBody',
    interval=10,
    image_hw=(1080, 1920),
)
