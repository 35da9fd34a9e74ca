"""SOT-GLP, CLIP ViT-B/16, 16 shots, StanfordCars (196 classes).

Paper:    Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_vitb16_16shot_stanford_cars.py
Data:     $DATA/stanford_cars/{cars_train/,cars_test/,split_zhou_StanfordCars.json};
          DATA is ./data by default.
Expected: the paper's abstract claims 85.1 % top-1 as the mean of 11 datasets. Its figure for
          StanfordCars alone has not been confirmed here, nor has this config been run on real
          weights. For comparison, GalLoP reports 89.2 % and CoOp 83.1 % (GalLoP's README).
"""

_base_ = '_base_/recipe_vitb16_16shot.py'

data = dict(
    type='CoOpSplitDataset',
    data_root='{{$DATA:data}}/stanford_cars',
    data_prefix='.',
    split_file='split_zhou_StanfordCars.json',
)
train_dataloader = dict(batch_size=32, dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='stanford_cars'))
auto_scale_lr = dict(base_batch_size=32)
