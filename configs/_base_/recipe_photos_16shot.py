"""The recipe of the sets of photographs; a derived config adds the data and what differs."""

_base_ = [
    './models/sotglp_photos.py',
    './datasets/photos64_16shot.py',
    './schedules/sgd_cosine_200e.py',
    './default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.3))
train_cfg = dict(max_epochs=20, val_interval=20)
auto_scale_lr = dict(base_batch_size=32)
