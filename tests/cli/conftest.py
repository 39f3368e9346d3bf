import runpy
from pathlib import Path

_body = runpy.run_path(str(Path(__file__).parents[1] / 'body_models' / 'conftest.py'))

smpl_arrays, as_published, make_body = _body['smpl_arrays'], _body['as_published'], _body['make_body']
chumpy, pickle_smpl = _body['chumpy'], _body['pickle_smpl']
