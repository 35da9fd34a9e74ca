"""What the released program does otherwise than these configs, for any of them.

One line, with the name of the config::

    CONFIG=sotglp_vitb16_16shot_dtd sotglp train configs/_base_/as_released.py

Class names keep their underscores; images are drawn stratified by class frequency, in the order
that the program has them; EXIF orientation is ignored; evaluation runs under autocast; the
temperature of OOD scores is 1000, and FPR95 is taken at the recall nearest 95 %.
"""

_base_ = '../{{$CONFIG:sotglp_vitb16_16shot}}.py'

name = '{{$CONFIG:sotglp_vitb16_16shot}}'
work_dir = f'work_dirs/{name}_as_released'

load = dict(type='LoadImageStrict', color_type='color_ignore_orientation')
train_pipeline, test_pipeline = (
    [load if step.type == load['type'] else step for step in pipeline]
    for pipeline in (_base_.train_pipeline, _base_.test_pipeline)
)
drawn = dict(sampling='stratified', dataset=dict(pipeline=train_pipeline))
if name.endswith(('stanford_cars', 'oxford_flowers')):
    drawn.update(label_codes='first_appearance')
if name.endswith('fgvc_aircraft'):
    drawn['dataset'].update(split='trainval_file')
tested = dict(pipeline=test_pipeline)

train_dataloader = dict(dataset=drawn)
val_dataloader = dict(dataset=tested)
test_dataloader = dict(dataset=tested)
val_cfg = dict(fp16=True)
test_cfg = dict(fp16=True)
test_evaluator = [
    dict(each, recall='nearest') if each.type == 'OODMetric' else each
    for each in _base_.test_evaluator
]

model = dict(head=dict(keep_underscores=True, ood_tau=1000.0))
