"""SOT-GLP, CLIP ViT-B/16, 16 shots, Flowers102 (102 classes).

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_oxford_flowers.py
Data:     $DATA/oxford_flowers/{jpg/,split_zhou_OxfordFlowers.json}; DATA is ./data by default.
Expected: the paper's abstract claims 85.1 % top-1 as the mean of 11 datasets. Its figure for
          Flowers102 alone has not been confirmed here, nor has this config been run on real
          weights. For comparison, GalLoP reports 98.8 % and CoOp 97.1 % (GalLoP's README).
"""

_base_ = '_base_/recipe_vitb16_16shot.py'

data = dict(
    type='CoOpSplitDataset',
    data_root='{{$DATA:data}}/oxford_flowers',
    data_prefix='jpg',
    split_file='split_zhou_OxfordFlowers.json',
)
train_dataloader = dict(batch_size=32, dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='oxford_flowers', num_local_prompts=6))
auto_scale_lr = dict(base_batch_size=32)
