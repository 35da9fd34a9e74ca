"""SOT-GLP, CLIP ViT-B/16, 16 shots of ImageNet, tested under four domain shifts.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_domains.py
          (the same training as sotglp_vitb16_16shot.py; a checkpoint of it serves as well)
Test:     python tools/test.py configs/sotglp_vitb16_16shot_domains.py CHECKPOINT
Data:     ImageNet as in sotglp_vitb16_16shot.py, and
          $DATA/imagenetv2/imagenetv2-matched-frequency-format-val/<label>/,
          $DATA/imagenet-sketch/images/<WordNet id>/,
          $DATA/imagenet-adversarial/imagenet-a/<WordNet id>/ and
          $DATA/imagenet-rendition/imagenet-r/<WordNet id>/; DATA is ./data by default.
          Only the classes that a set has compete (-A and -R have 200), so all must be there;
          for a subset on purpose, set its num_classes.
Expected: not in the paper's abstract, and not run here on real weights. For comparison, GalLoP
          reports a mean of 61.3 % over the four, CoOp 59.4 % (GalLoP's README).
"""

_base_ = './sotglp_vitb16_16shot.py'

root = '{{$DATA:data}}'
shift = dict(type='ImageNetShiftDataset')
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='EvaluationSets',
        pipeline={{_base_.test_pipeline}},
        sets=dict(
            imagenetv2=dict(
                **shift,
                data_root=f'{root}/imagenetv2',
                data_prefix='imagenetv2-matched-frequency-format-val',
                num_classes=1000,
            ),
            imagenet_sketch=dict(
                **shift,
                data_root=f'{root}/imagenet-sketch',
                data_prefix='images',
                num_classes=1000,
            ),
            imagenet_a=dict(
                **shift,
                data_root=f'{root}/imagenet-adversarial',
                data_prefix='imagenet-a',
                num_classes=200,
            ),
            imagenet_r=dict(
                **shift,
                data_root=f'{root}/imagenet-rendition',
                data_prefix='imagenet-r',
                num_classes=200,
            ),
        ),
    )
)
test_evaluator = [
    dict(type='BranchAccuracy', branch='combined', items=('top1', 'mean_class')),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
]
