"""SOT-GLP (arXiv 2603.08347) without projection: out-of-distribution detection;
Caltech101, 16 shots, a tiny CLIP of photographs.

Train:    python tools/train.py configs/photos/sotglp_caltech101_ood.py
Test:     python tools/test.py configs/photos/sotglp_caltech101_ood.py CHECKPOINT
Data:     as in sotglp_caltech101.py; $DATA/eurosat/2750/; $DATA/scene15/images/, any layout below.
Expected: the table of docs/photos.md.
"""

_base_ = './sotglp_caltech101.py'

model = dict(
    neck=dict(learn=False),  # projection-free
    head=dict(ood_methods=('mcm', 'l_mcm', 'gl_mcm'), ood_tau=(1.0, 1000.0)),
)

root = '{{$DATA:data}}'
unseen = dict(type='UnlabelledImagesDataset')
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='EvaluationSets',
        pipeline={{_base_.test_pipeline}},
        sets=dict(
            caltech101=dict(
                type='CoOpSplitDataset',
                data_root=f'{root}/caltech-101',
                data_prefix='101_ObjectCategories',
                split_file='split_zhou_Caltech101.json',
                split='test',
            ),
            eurosat=dict(data_root=f'{root}/eurosat', data_prefix='2750', **unseen),
            scene15=dict(data_root=f'{root}/scene15', data_prefix='images', **unseen),
        ),
    )
)
test_evaluator = [
    dict(type='BranchAccuracy', branch='combined', items=('top1', 'mean_class')),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
    dict(type='OODMetric', id_set='caltech101'),
]
