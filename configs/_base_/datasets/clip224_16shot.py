"""CLIP's 224-pixel pipelines and 16-shot loaders; a derived file says which data they load.

Data is looked for below the environment variable DATA, by default ./data, in the layout of CoOp.
"""

train_pipeline = [
    dict(type='LoadImageStrict'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.08, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageStrict'),
    dict(type='ResizeEdge', scale=224, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    # crops and flips by (seed, epoch, image): the same with any number of workers, and resumed
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='FewShotDataset',
        num_shots=16,
        seed=1,
        sampling='per_class',
        dataset=dict(split='train', pipeline=train_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='BranchAccuracy', branch='combined', items=('mean_class',)),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
]
test_evaluator = val_evaluator
