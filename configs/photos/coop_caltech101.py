"""CoOp (Zhou et al., IJCV 2022): one shared global prompt, no local branch;
Caltech101, 16 shots, a tiny CLIP of photographs.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/photos/coop_caltech101.py
Data:     $DATA/caltech-101/101_ObjectCategories/, 100 classes; DATA is ./data by default.
Expected: a line of docs/photos.md, which was trained from stored features.
"""

_base_ = './sotglp_caltech101.py'

model = dict(
    neck=dict(learn=False),
    head=dict(num_global_prompts=1, num_local_prompts=0, prompt_dropout=0.0),
)
optim_wrapper = dict(optimizer=dict(lr=0.3))
