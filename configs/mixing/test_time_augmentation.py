"""SOT-GLP, tested on several views of an image.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/mixing/test_time_augmentation.py
Test:     python tools/test.py configs/mixing/test_time_augmentation.py CHECKPOINT --tta
          (a checkpoint of sotglp_demo_16shot.py serves as well)
Data:     the demo's generated scenes, 24 classes; drawn by the package.
Expected: top-1 60.6 % without --tta, 64.4 % with it (local 61.1 and 66.1 %; seed 1, on a CPU).
"""

_base_ = '../sotglp_demo_16shot.py'

# MMPretrain's AverageClsScoreTTA averages pred_score alone; this one all that our head predicts
tta_model = dict(type='AverageScoresTTA')
tta_pipeline = [
    dict(type='LoadImageStrict'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='ResizeEdge', scale=size, backend='pillow', interpolation='bicubic')
                for size in (64, 72)
            ],
            [dict(type='CenterCrop', crop_size=64)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='PackInputs')],
        ],
    ),
]
