"""SOT-GLP with the allocation of sotglp_plus_demo_16shot.py;
EuroSAT, 16 shots, a tiny CLIP of photographs.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/photos/sotglp_plus_eurosat.py
Data:     $DATA/eurosat/2750/, 10 classes; DATA is ./data by default.
Expected: a line of docs/photos.md, which was trained from stored features.
"""

_base_ = './sotglp_eurosat.py'

model = dict(
    head=dict(
        local_init='template',
        selector=dict(rank='logsumexp', k=20),
        local_loss=dict(epsilon=0.02, reduction='sum'),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1.0))
