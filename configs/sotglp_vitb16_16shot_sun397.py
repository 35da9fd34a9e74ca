"""SOT-GLP, CLIP ViT-B/16, 16 shots, SUN397 (397 classes).

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_sun397.py
Data:     $DATA/sun397/{SUN397/,split_zhou_SUN397.json}; DATA is ./data by default.
Expected: the paper's abstract claims 85.1 % top-1 as the mean of 11 datasets. Its figure for
          SUN397 alone has not been confirmed here, nor has this config been run on real
          weights. For comparison, GalLoP reports 77.2 % and CoOp 74.7 % (GalLoP's README).
"""

_base_ = '_base_/recipe_vitb16_16shot.py'

data = dict(
    type='CoOpSplitDataset',
    data_root='{{$DATA:data}}/sun397',
    data_prefix='SUN397',
    split_file='split_zhou_SUN397.json',
)
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='sun397'))
