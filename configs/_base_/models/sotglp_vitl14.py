"""SOT-GLP on CLIP ViT-L/14 with OpenAI's weights (256 patches); a config adds head.class_names."""

_base_ = './sotglp_vitb16.py'

clip = dict(model_name='ViT-L-14', pretrained='openai')
clip_of_parts = clip
model = dict(backbone=dict(clip=clip), neck=dict(clip=clip), head=dict(clip=clip))
