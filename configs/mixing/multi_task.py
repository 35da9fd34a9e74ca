"""SOTGLPHead beside MMPretrain's LinearClsHead, under MMPretrain's MultiTaskHead.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347;
          the second task is ours: does a scene show all three parts of its class?
Train:    python tools/train.py configs/mixing/multi_task.py
Data:     the demo's generated scenes, 24 classes; drawn by the package.
Expected: scenes: top-1 62.5 %, top-5 92.7 %; complete or not: 65.3 % (seed 1, on a CPU).
"""

_base_ = '../sotglp_demo_16shot.py'

# MMPretrain packs labels that are a dict by task; its MultiTaskDataset reads such labels from a
# file. The demo draws its scenes, so KeyMapper makes the dict out of two keys of an item.
pack = [
    dict(
        type='KeyMapper',
        mapping=dict(gt_label=dict(scene='gt_label', complete='all_parts')),
        remapping=dict(inputs='inputs', data_samples='data_samples'),
        transforms=[dict(type='PackMultiTaskInputs', multi_task_fields=('gt_label',))],
    ),
    dict(type='Collect', keys=('inputs', 'data_samples')),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[{{_base_.train_crop}}, *pack])))
val_dataloader = dict(dataset=dict(pipeline=pack))
test_dataloader = val_dataloader

model = dict(
    head=dict(
        _delete_=True,
        type='MultiTaskHead',
        task_heads=dict(
            scene=dict(type='SOTGLPHead', class_names='demo_scenes'),
            complete=dict(type='LinearClsHead', num_classes=2, in_channels=128),
        ),
    )
)

evaluators = [
    dict(
        type='MultiTasksMetric',
        task_metrics=dict(
            scene=[
                dict(type='Accuracy', topk=(1, 5)),
                dict(type='BranchAccuracy', branch='global'),
                dict(type='BranchAccuracy', branch='local'),
            ],
            complete=[dict(type='Accuracy')],
        ),
    )
]
val_evaluator = evaluators
test_evaluator = evaluators
