"""GalLoP (Lafon et al., ECCV 2024): shared local prompts, each with its own top-k patches;
the embedded demo (generated scenes, tiny CLIP).
Here: the local branch has one loss, of its mean score; GalLoP adds up one for each prompt.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/demo/gallop.py
Data:     24 made-up classes of generated scenes; drawn by the package.
Expected: not a line of README.md's table of methods: `make compare` trains 20 epochs from eight
          stored views, at a tuned learning rate; this command 50, from images, at the config's.
"""

_base_ = '../sotglp_demo_16shot.py'

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
