"""SOT-GLP (arXiv 2603.08347), projection-free: the variant for OOD detection;
CLIP ViT-B/16, 16 shots of ImageNet.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/vitb16/sotglp_noproj.py
Data:     $DATA/imagenet/images/{train,val}/<WordNet id>/; DATA is ./data by default.
Expected: not run here on real weights; sotglp_mm/campaign/published.json has published numbers.
"""

_base_ = '../sotglp_vitb16_16shot.py'

model = dict(neck=dict(learn=False))
