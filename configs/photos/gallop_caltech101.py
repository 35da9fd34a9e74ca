"""GalLoP (Lafon et al., ECCV 2024): shared local prompts, each with its own top-k patches;
Caltech101, 16 shots, a tiny CLIP of photographs.
Here: the local branch has one loss, of its mean score; GalLoP adds up one for each prompt.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/photos/gallop_caltech101.py
Data:     $DATA/caltech-101/101_ObjectCategories/, 100 classes; DATA is ./data by default.
Expected: a line of docs/photos.md, which was trained from stored features.
"""

_base_ = './sotglp_caltech101.py'

sizes = (5, 10, 15, 20)
model = dict(
    head=dict(
        num_global_prompts=4,
        num_local_prompts=4,
        local_shared=True,
        local_init='template',
        selector=dict(_delete_=True, type='PromptPatchSelector', k=sizes),
        local_loss=dict(_delete_=True, type='UniformAllocationLoss', k=sizes, reduction='sum'),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.03))
