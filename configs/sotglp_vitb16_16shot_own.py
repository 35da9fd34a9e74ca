"""SOT-GLP, CLIP ViT-B/16, 16 shots, your own images.

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_own.py --data /path/to/images
Data:     $DATA/<class>/<image>, or $DATA/{train,test}/<class>/<image>, or $DATA is a .csv file
          with the columns path,label (and, if wanted, split). Without a split of yours, images
          are split 50/20/30 by a seed, and the split is written beside them.
Expected: depends on the data; the recipe is that of the smaller sets of the paper.
"""

_base_ = '_base_/recipe_vitb16_16shot.py'

data = dict(type='OwnImagesDataset', data_root='{{$DATA:data/own}}')
train_dataloader = dict(batch_size=32, dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

# no top-5: two classes are enough
val_evaluator = [
    dict(type='BranchAccuracy', branch='combined', items=('top1', 'mean_class')),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
]
# with matplotlib, diagram='reliability.png' draws accuracy over confidence
test_evaluator = [*val_evaluator, dict(type='CalibrationError')]

model = dict(head=dict(class_names='dataset'))
auto_scale_lr = dict(base_batch_size=32)
