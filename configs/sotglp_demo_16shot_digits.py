"""SOT-GLP on the embedded demo's real data: scikit-learn's handwritten digits.

Method:   Local-Global Prompt Learning via Sparse Optimal Transport, arXiv 2603.08347.
Train:    python tools/train.py configs/sotglp_demo_16shot_digits.py
Data:     1797 handwritten digits, of scikit-learn; CLIP was not pretrained on them.
Expected: the table of README.md, which `make demo` prints.
"""

_base_ = './sotglp_demo_16shot.py'

data = dict(type='DemoDigitsDataset')
train_dataloader = dict(dataset=dict(dataset=data))
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader

model = dict(head=dict(class_names='demo_digits'))
