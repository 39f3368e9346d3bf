# InstaVariety, bodies of NeuralAnnot; every tenth person.
insta_variety = dict(
    type='HumanDataset',
    name='insta_variety',
    ann_file='preprocessed_datasets/insta_variety_neural_annot_train.npz',
    img_dir='InstaVariety',
    interval=10,
    image_hw=(224, 224),
)
