"""SOT-GLP (arXiv 2603.08347), as the paper has it;
EuroSAT, 16 shots, a tiny CLIP of photographs.

Compared in arXiv 2603.08347, and set beside it here: the same parts, other settings.
Train:    python tools/train.py configs/photos/sotglp_eurosat.py
Data:     $DATA/eurosat/2750/, 10 classes; DATA is ./data by default.
Expected: a line of docs/photos.md, which was trained from stored features.
"""

_base_ = '../_base_/recipe_photos_16shot.py'

data = dict(
    type='CoOpSplitDataset',
    data_root='{{$DATA:data}}/eurosat',
    data_prefix='2750',
    split_file='split_zhou_EuroSAT.json',
)
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='eurosat'))
