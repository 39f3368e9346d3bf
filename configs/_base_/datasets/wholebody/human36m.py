# Human3.6M, bodies of NeuralAnnot; every fifth frame.
human36m = dict(
    type='WholeBodySet',
    name='human36m',
    kind='human36m',
    folder='Human36M',
    body_model='smplx_neutral',
)
