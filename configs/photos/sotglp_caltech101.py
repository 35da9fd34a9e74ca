"""SOT-GLP (arXiv 2603.08347), as the paper has it;
Caltech101, 16 shots, a tiny CLIP of photographs.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/photos/sotglp_caltech101.py
Data:     $DATA/caltech-101/101_ObjectCategories/, 100 classes; DATA is ./data by default.
Expected: a line of docs/photos.md, which was trained from stored features.
"""

_base_ = '../_base_/recipe_photos_16shot.py'

data = dict(
    type='CoOpSplitDataset',
    data_root='{{$DATA:data}}/caltech-101',
    data_prefix='101_ObjectCategories',
    split_file='split_zhou_Caltech101.json',
)
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='caltech101'))
train_cfg = dict(max_epochs=5, val_interval=5)
optim_wrapper = dict(optimizer=dict(lr=0.1))
