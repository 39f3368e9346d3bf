# MPII, bodies of NeuralAnnot.
mpii = dict(
    type='WholeBodySet',
    name='mpii',
    kind='mpii',
    folder='MPII/data',
    body_model='smplx_neutral',
)
