"""The released recipe: SGD, cosine over epochs to 0, no warm-up, float16 autocast on a GPU.

The cosine ends where the training ends: train_cfg.max_epochs is the one number to change.
"""

optim_wrapper = dict(
    type='AutocastOptimWrapper',
    dtype='float16',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=0.01),
)
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, eta_min=0)

# the last epoch counts; nothing is selected by what is evaluated on the way
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=50)
val_cfg = dict()
test_cfg = dict()

# for tools/train.py --auto-scale-lr; the batch size of the recipe
auto_scale_lr = dict(base_batch_size=128, enable=False)
