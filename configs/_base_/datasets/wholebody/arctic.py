# ARCTIC; every tenth person.
arctic = dict(
    type='HumanDataset',
    name='arctic',
    ann_file='preprocessed_datasets/p1_train.npz',
    img_dir='ARCTIC',
    interval=10,
)
