"""SOT-GLP without projection, CLIP ViT-B/16, 16 shots of ImageNet: out-of-distribution detection.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_ood.py
Test:     python tools/test.py configs/sotglp_vitb16_16shot_ood.py CHECKPOINT
Data:     ImageNet as in sotglp_vitb16_16shot.py; $DATA/{iNaturalist,SUN,Places}/images/ and
          $DATA/dtd/images/; DATA is ./data by default.
Expected: the paper's abstract claims 94.2 % AUROC as the mean of the four sets, and does not say
          by which score and temperature. Not confirmed here: this config has not been run on real
          weights. For comparison, GalLoP reports 93.2 % (its README).
"""

_base_ = './sotglp_vitb16_16shot.py'

model = dict(
    neck=dict(learn=False),  # projection-free
    # scores are softmaxes of cosines / ood_tau: 1 as MCM's authors, 1000 as the released program
    head=dict(ood_methods=('mcm', 'l_mcm', 'gl_mcm'), ood_tau=(1.0, 1000.0)),
)

root = '{{$DATA:data}}'
images = dict(type='UnlabelledImagesDataset', data_prefix='images')
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='EvaluationSets',
        pipeline={{_base_.test_pipeline}},
        sets=dict(
            imagenet=dict(
                type='CoOpImageNetDataset',
                data_root=f'{root}/imagenet',
                split='val',
            ),
            inaturalist=dict(**images, data_root=f'{root}/iNaturalist'),
            sun=dict(**images, data_root=f'{root}/SUN'),
            places=dict(**images, data_root=f'{root}/Places'),
            textures=dict(**images, data_root=f'{root}/dtd'),
        ),
    )
)
test_evaluator = [
    dict(type='BranchAccuracy', branch='combined', items=('top1', 'mean_class')),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
    dict(type='OODMetric', id_set='imagenet'),
]
