"""SOTGLPHead with MMPretrain's LabelSmoothLoss.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347;
          label smoothing: arXiv 1512.00567.
Train:    python tools/train.py configs/mixing/label_smooth.py
Data:     the demo's generated scenes, 24 classes; drawn by the package.
Expected: not measured at full length; the tests train an epoch of it.
"""

_base_ = '../sotglp_demo_16shot.py'

# of the global branch; the local branch keeps its own cross entropy, in local_loss
model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)))
