"""SOT-GLP on the tiny CLIP of photographs that the package carries; a config adds
head.class_names.
"""

_base_ = './sotglp_vitb16.py'

model = dict(clip=dict(model_name='sotglp-photos', pretrained='sotglp-photos'))
