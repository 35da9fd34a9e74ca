"""SOT-GLP with the allocation that held up best on the embedded demo; generated scenes.

Method:   arXiv 2603.08347, and beyond it: patches ranked by a soft maximum over prompts, and
          the local score on the global score's scale; see docs/allocation.md.
Train:    python tools/train.py configs/sotglp_plus_demo_16shot.py
Data:     24 made-up classes, each a set of three coloured shapes; drawn by the package.
Expected: top-1 64.8 %, top-5 91.8 %; sotglp_demo_16shot.py has 60.6 and 93.3 % (seed 1, on a CPU).
          Five seeds, of a shorter training: 'soft 20, OT 0.02' and 'paper' of docs/allocation.md.
"""

_base_ = './sotglp_demo_16shot.py'

model = dict(
    head=dict(
        local_init='template',
        selector=dict(rank='logsumexp', k=20),
        local_loss=dict(epsilon=0.02, reduction='sum'),
    )
)
optim_wrapper = dict(optimizer=dict(lr=1.0))
