"""MMPretrain's LinearClsHead behind our frozen image tower: a linear probe, no prompts.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347;
          a linear probe is what CLIP's paper (arXiv 2103.00020) compares with.
Train:    python tools/train.py configs/mixing/linear_probe.py
Data:     the demo's generated scenes, 24 classes; drawn by the package.
Expected: top-1 74.1 %, top-5 95.8 % (seed 1, on a CPU).
"""

_base_ = '../sotglp_demo_16shot.py'

model = dict(
    neck=None,
    # ImageFeatures come with the image embedding last, which is what this head reads; in_channels
    # is the width W of the tower: 192 here, 768 for ViT-B
    head=dict(_delete_=True, type='LinearClsHead', num_classes=24, in_channels=192),
)
evaluators = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='BranchAccuracy', branch='combined', items=('mean_class',)),
]
val_evaluator = evaluators
test_evaluator = evaluators
