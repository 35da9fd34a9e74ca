"""CLIP zero-shot: one template prompt, nothing learned;
the embedded demo (generated scenes, tiny CLIP).

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Test:     python tools/test.py configs/demo/zero_shot.py none
Data:     24 made-up classes of generated scenes; drawn by the package.
Expected: top-1 3.1 % of scenes, which is chance; a line of README.md's table of methods.
"""

_base_ = '../sotglp_demo_16shot.py'

model = dict(
    neck=dict(learn=False),
    head=dict(num_global_prompts=1, num_local_prompts=0, prompt_dropout=0.0),
)
