# CrowdPose, bodies of NeuralAnnot.
crowdpose = dict(
    type='HumanDataset',
    name='crowdpose',
    ann_file='preprocessed_datasets/crowdpose_neural_annot_train_new.npz',
    img_dir='CrowdPose',
)
