# GTA-Human II.
gta_human2 = dict(
    type='HumanDataset',
    name='gta_human2',
    ann_file='preprocessed_datasets/gta_human2multiple_230406_04000_0.npz',
    img_dir='GTA_Human2',
    image_hw=(1080, 1920),
    camera=(1158.0337, 1158.0337, 960, 540),
)
