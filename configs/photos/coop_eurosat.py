"""CoOp (Zhou et al., IJCV 2022): one shared global prompt, no local branch;
EuroSAT, 16 shots, a tiny CLIP of photographs.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/photos/coop_eurosat.py
Data:     $DATA/eurosat/2750/, 10 classes; DATA is ./data by default.
Expected: a line of docs/photos.md, which was trained from stored features.
"""

_base_ = './sotglp_eurosat.py'

model = dict(
    neck=dict(learn=False),
    head=dict(num_global_prompts=1, num_local_prompts=0, prompt_dropout=0.0),
)
optim_wrapper = dict(optimizer=dict(lr=1.0))
