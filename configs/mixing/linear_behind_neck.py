"""MMPretrain's LinearClsHead behind our neck: a linear classifier of CLIP's joint space.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/mixing/linear_behind_neck.py
Data:     the demo's generated scenes, 24 classes; drawn by the package.
Expected: top-1 70.8 %, top-5 94.7 % (seed 1, on a CPU).
"""

_base_ = '../sotglp_demo_16shot.py'

model = dict(
    # nothing that this head reads depends on the learned map of patches
    neck=dict(learn=False),
    # in_channels is the width D of the joint space: 128 here, 512 for ViT-B
    head=dict(_delete_=True, type='LinearClsHead', num_classes=24, in_channels=128),
)
# features have unit length: their gradients are small
optim_wrapper = dict(optimizer=dict(lr=10.0, weight_decay=0.0))
evaluators = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='BranchAccuracy', branch='combined', items=('mean_class',)),
]
val_evaluator = evaluators
test_evaluator = evaluators
