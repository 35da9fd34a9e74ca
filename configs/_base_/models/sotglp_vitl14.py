"""SOT-GLP on CLIP ViT-L/14 with OpenAI's weights (256 patches); a config adds head.class_names."""

_base_ = './sotglp_vitb16.py'

model = dict(clip=dict(model_name='ViT-L-14', pretrained='openai'))
