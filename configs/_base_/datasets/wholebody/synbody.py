# SynBody.
synbody = dict(
    type='HumanDataset',
    name='synbody',
    ann_file='preprocessed_datasets/synbody_train_230521_04000_fix_betas.npz',
    img_dir='SynBody',
    image_hw=(720, 1280),
    camera=(540, 540, 640, 360),
)
