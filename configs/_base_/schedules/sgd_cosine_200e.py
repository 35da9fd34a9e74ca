"""The released recipe: SGD, cosine over epochs to 0, no warm-up, float16 autocast on a GPU.

A derived config that changes max_epochs changes param_scheduler.T_max with it.
"""

optim_wrapper = dict(
    type='AutocastOptimWrapper',
    dtype='float16',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=0.01),
)
param_scheduler = dict(
    type='CosineAnnealingLR',
    by_epoch=True,
    T_max=200,
    eta_min=0,
    # By default MMEngine writes max_epochs here and into the checkpoint: a run that is given more
    # epochs on --resume would then go on with a constant learning rate.
    end=1_000_000_000,
)

# the last epoch counts; nothing is selected by what is evaluated on the way
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=50)
val_cfg = dict()
test_cfg = dict()

# for tools/train.py --auto-scale-lr; the batch size of the recipe
auto_scale_lr = dict(base_batch_size=128, enable=False)
