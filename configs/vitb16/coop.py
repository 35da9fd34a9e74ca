"""CoOp (Zhou et al., IJCV 2022): one shared global prompt, no local branch;
CLIP ViT-B/16, 16 shots of ImageNet.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/vitb16/coop.py
Data:     $DATA/imagenet/images/{train,val}/<WordNet id>/; DATA is ./data by default.
Expected: not run here on real weights; sotglp_mm/campaign/published.json has published numbers.
"""

_base_ = '../sotglp_vitb16_16shot.py'

model = dict(
    neck=dict(learn=False),
    head=dict(num_global_prompts=1, num_local_prompts=0, prompt_dropout=0.0),
)
