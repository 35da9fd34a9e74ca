"""16-shot loaders for the generated 64-pixel sets of the demo; nothing is read from disk.

The test pipeline takes files as well (tools/predict.py, MMPretrain's inferencer); the sets' own
64-pixel images go through it unchanged.
"""

_base_ = './clip224_16shot.py'

# mild: a scene's parts are small, and a crop that loses them loses the class
train_crop = dict(
    type='RandomResizedCrop',
    scale=64,
    crop_ratio_range=(0.7, 1.0),
    aspect_ratio_range=(0.9, 1.1),
    backend='pillow',
    interpolation='bicubic',
)
train_pipeline = [train_crop, dict(type='PackInputs')]
test_pipeline = [
    dict(type='LoadImageStrict'),
    dict(type='ResizeEdge', scale=64, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32, num_workers=1, dataset=dict(dataset=dict(pipeline=train_pipeline))
)
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
