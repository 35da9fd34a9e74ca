"""SOT-GLP on the embedded demo: generated scenes, a tiny CLIP, no download, minutes on a CPU.

Method:   Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_demo_16shot.py
Data:     24 made-up classes, each a set of three coloured shapes; drawn by the package.
Expected: the table of README.md, which `make demo` prints.
"""

_base_ = [
    '_base_/models/sotglp_demo.py',
    '_base_/datasets/demo_16shot.py',
    '_base_/schedules/sgd_cosine_200e.py',
    '_base_/default_runtime.py',
]

data = dict(type='DemoScenesDataset')
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='demo_scenes'))
optim_wrapper = dict(optimizer=dict(lr=0.1))
train_cfg = dict(max_epochs=50, val_interval=50)
auto_scale_lr = dict(base_batch_size=32)
