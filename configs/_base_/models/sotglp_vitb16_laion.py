"""SOT-GLP on open_clip's ViT-B/16, trained on LAION-2B (GELU); a config adds head.class_names."""

_base_ = './sotglp_vitb16.py'

model = dict(clip=dict(model_name='ViT-B-16', pretrained='laion2b_s34b_b88k'))
