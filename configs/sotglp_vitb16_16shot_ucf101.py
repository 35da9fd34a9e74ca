"""SOT-GLP, CLIP ViT-B/16, 16 shots, UCF101 (101 classes).

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_ucf101.py
Data:     $DATA/ucf101/{UCF-101-midframes/,split_zhou_UCF101.json}; DATA is ./data by default.
Expected: the paper's abstract claims 85.1 % top-1 as the mean of 11 datasets. Its figure for
          UCF101 alone has not been confirmed here, nor has this config been run on real
          weights. For comparison, GalLoP reports 86.9 % and CoOp 82.2 % (GalLoP's README).
"""

_base_ = '_base_/recipe_vitb16_16shot.py'

data = dict(
    type='CoOpSplitDataset',
    data_root='{{$DATA:data}}/ucf101',
    data_prefix='UCF-101-midframes',
    split_file='split_zhou_UCF101.json',
)
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='ucf101'))
