"""SOT-GLP on CLIP ViT-B/32 with OpenAI's weights (49 patches); a config adds head.class_names."""

_base_ = './sotglp_vitb16.py'

model = dict(clip=dict(model_name='ViT-B-32', pretrained='openai'))
