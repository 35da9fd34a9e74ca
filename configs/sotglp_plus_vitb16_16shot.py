"""SOT-GLP with the allocation that held up best on the embedded demo; CLIP ViT-B/16, ImageNet.

Paper:    arXiv 2603.08347, beyond it: patches ranked by a soft maximum over prompts, and the local
          score on the global score's scale; see docs/allocation.md.
Train:    python tools/train.py configs/sotglp_plus_vitb16_16shot.py
Data:     $DATA/imagenet/images/{train,val}/<WordNet id>/; DATA is ./data by default.
Expected: not known: measured on the demo's small world alone, not on real weights.
"""

_base_ = './sotglp_vitb16_16shot.py'

model = dict(
    head=dict(
        local_init='template',
        selector=dict(rank='logsumexp', k=20),
        local_loss=dict(epsilon=0.02, reduction='sum'),
    )
)
