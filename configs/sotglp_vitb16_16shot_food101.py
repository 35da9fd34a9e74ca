"""SOT-GLP, CLIP ViT-B/16, 16 shots, Food101 (101 classes).

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_food101.py
Data:     $DATA/food-101/{images/,split_zhou_Food101.json}; DATA is ./data by default.
Expected: the paper's abstract claims 85.1 % top-1 as the mean of 11 datasets. Its figure for
          Food101 alone has not been confirmed here, nor has this config been run on real
          weights. For comparison, GalLoP reports 86.5 % and CoOp 84.2 % (GalLoP's README).
"""

_base_ = '_base_/recipe_vitb16_16shot.py'

data = dict(
    type='CoOpSplitDataset',
    data_root='{{$DATA:data}}/food-101',
    data_prefix='images',
    split_file='split_zhou_Food101.json',
)
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='food101', num_local_prompts=6))
