"""CoOp (Zhou et al., IJCV 2022): one shared global prompt, no local branch;
the embedded demo (generated scenes, tiny CLIP).

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/demo/coop.py
Data:     24 made-up classes of generated scenes; drawn by the package.
Expected: not a line of README.md's table of methods: `make compare` trains 20 epochs from eight
          stored views, at a tuned learning rate; this command 50, from images, at the config's.
"""

_base_ = '../sotglp_demo_16shot.py'

model = dict(
    neck=dict(learn=False),
    head=dict(num_global_prompts=1, num_local_prompts=0, prompt_dropout=0.0),
)
