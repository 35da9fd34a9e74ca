"""PLOT (Chen et al., ICLR 2023): shared local prompts, optimal transport over all patches;
CLIP ViT-B/16, 16 shots of ImageNet.
Here: patches of the V-V stream, and a global branch beside, as in every method of this folder.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/vitb16/plot.py
Data:     $DATA/imagenet/images/{train,val}/<WordNet id>/; DATA is ./data by default.
Expected: not run here on real weights; sotglp_mm/campaign/published.json has published numbers.
"""

_base_ = '../sotglp_vitb16_16shot.py'

model = dict(
    neck=dict(learn=False),
    head=dict(
        num_global_prompts=1,
        num_local_prompts=4,
        prompt_dropout=0.0,
        local_shared=True,
        local_init='template',
        selector=dict(k='all'),
        local_loss=dict(epsilon=0.1, reduction='sum'),
    ),
)
