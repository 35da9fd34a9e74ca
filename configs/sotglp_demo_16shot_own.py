"""SOT-GLP on the tiny CLIP that the package carries, your own images: to try things, on a CPU.

Method:   Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_demo_16shot_own.py --data /path/to/images
Data:     as in sotglp_vitb16_16shot_own.py.
Expected: depends on the data. The tiny CLIP knows drawn shapes and digits, not photographs.
"""

_base_ = './sotglp_vitb16_16shot_own.py'

model = dict(clip=dict(model_name='sotglp-demo', pretrained='sotglp-demo'))

# mild, as in _base_/datasets/demo_16shot.py
train_pipeline = [
    dict(type='LoadImageStrict'),
    dict(
        type='RandomResizedCrop',
        scale=64,
        crop_ratio_range=(0.7, 1.0),
        aspect_ratio_range=(0.9, 1.1),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageStrict'),
    dict(type='ResizeEdge', scale=64, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='PackInputs'),
]
train_dataloader = dict(num_workers=1, dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=0.1))
train_cfg = dict(max_epochs=50, val_interval=50)
