"""What every run shares: the plugin, hooks, logging, seed."""

custom_imports = dict(imports=['sotglp_mm'], allow_failed_imports=False)
default_scope = 'mmpretrain'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='WholeCheckpointHook', interval=10, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
    # not custom_hooks: a derived config's list would replace these without a word
    class_names=dict(type='ClassNamesCheckHook'),
    feature_cache=dict(type='FeatureCacheCheckHook'),
    processes=dict(type='ProcessesCheckHook'),
    empty_epoch=dict(type='EmptyEpochHook'),
    learned_parameters=dict(type='LearnedParametersHook'),
    finite_loss=dict(type='FiniteLossHook'),
    resumed_settings=dict(type='ResumedSettingsHook'),
    random_state=dict(type='RandomStateHook'),
    resumed_validation=dict(type='ResumedValidationHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    few_shot_record=dict(type='FewShotRecordHook'),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # seconds that a process waits for one that does not answer
    dist_cfg=dict(backend='nccl', timeout=600),
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)

log_level = 'INFO'
load_from = None
resume = False

# prompts, prompt dropout, order and augmentation of the images
randomness = dict(seed=1, deterministic=False)
