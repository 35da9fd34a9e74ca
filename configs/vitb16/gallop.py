"""GalLoP (Lafon et al., ECCV 2024): shared local prompts, each with its own top-k patches;
CLIP ViT-B/16, 16 shots of ImageNet.
Here: the local branch has one loss, of its mean score; GalLoP adds up one for each prompt.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/vitb16/gallop.py
Data:     $DATA/imagenet/images/{train,val}/<WordNet id>/; DATA is ./data by default.
Expected: not run here on real weights; sotglp_mm/campaign/published.json has published numbers.
"""

_base_ = '../sotglp_vitb16_16shot.py'

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
