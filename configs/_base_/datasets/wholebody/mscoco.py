# MSCOCO, points of COCO-WholeBody, bodies of NeuralAnnot.
mscoco = dict(
    type='WholeBodySet',
    name='mscoco',
    kind='mscoco',
    folder='MSCOCO',
    body_model='smplx_neutral',
)
