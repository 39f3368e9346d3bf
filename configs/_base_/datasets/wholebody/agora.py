# AGORA, pictures of 1280 x 720.
agora = dict(
    type='WholeBodySet',
    name='agora',
    kind='agora',
    folder='AGORA/data',
)
