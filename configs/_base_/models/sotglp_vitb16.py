"""SOT-GLP on CLIP ViT-B/16 with OpenAI's weights; a config adds head.class_names.

Another CLIP in one line: ``--cfg-options model.clip.pretrained=/path/to/ViT-B-16.pt``, or
``model = dict(clip=dict(...))`` in a derived config.
"""

model = dict(
    type='CLIPClassifier',
    clip=dict(model_name='ViT-B-16', pretrained='openai'),
    data_preprocessor=dict(
        # CLIP's, in units of 0..255
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        to_rgb=True,
    ),
    backbone=dict(type='OpenCLIPViT', first_block_residual=True),
    neck=dict(type='LocalProjectionNeck', learn=True),
    head=dict(
        type='SOTGLPHead',
        num_global_prompts=3,
        num_local_prompts=4,
        prompt_dropout=0.75,
        selector=dict(type='SparsePatchSelector', k=10, rank='mean'),
        local_loss=dict(type='OTAllocationLoss', epsilon=0.1, reduction='mean'),
    ),
)
