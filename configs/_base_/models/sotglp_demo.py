"""SOT-GLP on the tiny CLIP that the package carries; a config adds head.class_names."""

_base_ = './sotglp_vitb16.py'

clip = dict(model_name='sotglp-demo', pretrained='sotglp-demo')
clip_of_parts = clip
model = dict(backbone=dict(clip=clip), neck=dict(clip=clip), head=dict(clip=clip))
