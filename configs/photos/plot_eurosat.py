"""PLOT (Chen et al., ICLR 2023): shared local prompts, optimal transport over all patches;
EuroSAT, 16 shots, a tiny CLIP of photographs.
Here: patches of the V-V stream, and a global branch beside, as in every method of this folder.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/photos/plot_eurosat.py
Data:     $DATA/eurosat/2750/, 10 classes; DATA is ./data by default.
Expected: a line of docs/photos.md, which was trained from stored features.
"""

_base_ = './sotglp_eurosat.py'

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
optim_wrapper = dict(optimizer=dict(lr=1.0))
