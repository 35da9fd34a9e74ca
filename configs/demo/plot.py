"""PLOT (Chen et al., ICLR 2023): shared local prompts, optimal transport over all patches;
the embedded demo (generated scenes, tiny CLIP).
Here: patches of the V-V stream, and a global branch beside, as in every method of this folder.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/demo/plot.py
Data:     24 made-up classes of generated scenes; drawn by the package.
Expected: not a line of README.md's table of methods: `make compare` trains 20 epochs from eight
          stored views, at a tuned learning rate; this command 50, from images, at the config's.
"""

_base_ = '../sotglp_demo_16shot.py'

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
