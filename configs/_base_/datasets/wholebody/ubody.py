# UBody, every tenth person of each scene from the tenth on.
ubody = dict(
    type='WholeBodySet',
    name='ubody',
    kind='ubody',
    folder='UBody',
    body_model='smplx_neutral',
    interval=10,
    offset=9,
)
