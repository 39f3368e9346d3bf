# SMPLer-X's recipe with truncated encoders. A leaf names the encoder.
_base_ = [
    './wholebody_runtime.py',
    './schedules/smplerx_10e.py',
    './datasets/wholebody/mix32.py',
    './datasets/wholebody/benchmarks.py',
    './datasets/wholebody_ehf.py',
    './models/wholebody_truncated.py',
]
