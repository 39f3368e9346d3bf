# SMPLer-X's recipe: 32 data sets, benchmarks, losses and schedule. A leaf names the size.
_base_ = [
    './wholebody_runtime.py',
    './schedules/smplerx_10e.py',
    './datasets/wholebody/mix32.py',
    './datasets/wholebody/benchmarks.py',
    './datasets/wholebody_ehf.py',
    './models/wholebody_smplerx.py',
]
