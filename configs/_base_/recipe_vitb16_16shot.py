"""The recipe that the 16-shot configs share; a derived config adds the data and what differs."""

_base_ = [
    './models/sotglp_vitb16.py',
    './datasets/clip224_16shot.py',
    './schedules/sgd_cosine_200e.py',
    './default_runtime.py',
]
