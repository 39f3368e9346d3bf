# LSP-Extended, bodies of EFT.
lspet = dict(
    type='HumanDataset',
    name='lspet',
    ann_file='preprocessed_datasets/eft_lspet.npz',
    img_dir='LSPET',
)
