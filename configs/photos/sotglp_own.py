"""SOT-GLP on the tiny CLIP of photographs that the package carries, your own photos: on a CPU.

Method:   Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/photos/sotglp_own.py --data /path/to/images
Data:     as in sotglp_vitb16_16shot_own.py.
Expected: depends on the data. The tiny CLIP saw 64-pixel photographs of 200 classes; a real one
          (sotglp_vitb16_16shot_own.py) knows far more.
"""

_base_ = '../_base_/recipe_photos_16shot.py'

data = dict(type='OwnImagesDataset', data_root='{{$DATA:data/own}}')
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

# no top-5: two classes are enough
val_evaluator = [
    dict(type='BranchAccuracy', branch='combined', items=('top1', 'mean_class')),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
]
test_evaluator = [*val_evaluator, dict(type='CalibrationError')]

model = dict(head=dict(class_names='dataset'))
