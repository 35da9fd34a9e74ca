"""Tensors in, tensors out: the mathematics of SOT-GLP, without any framework around it.

Imports torch and :mod:`sotglp_mm.structures` only.
"""

from .calibration import NUM_BINS, Reliability, negative_log_likelihood, reliability, tempered
from .capped_transport import capped_sinkhorn
from .local_score import local_scores, transport_cost
from .ood_scores import OOD_FIELDS, OOD_SCORES, gl_mcm, local_mcm, mcm
from .patch_support import rank_patches, select_support
from .plan_diagnostics import mean_cosine, part_information, plan_entropy, prompt_overlap
from .selected_similarity import selected_similarity
from .sinkhorn import TOLERANCE, sinkhorn
from .vv_attention import attend_with_values, dual_attention

__all__ = [
    'NUM_BINS',
    'OOD_FIELDS',
    'OOD_SCORES',
    'TOLERANCE',
    'Reliability',
    'attend_with_values',
    'capped_sinkhorn',
    'dual_attention',
    'gl_mcm',
    'local_mcm',
    'local_scores',
    'mcm',
    'mean_cosine',
    'negative_log_likelihood',
    'part_information',
    'plan_entropy',
    'prompt_overlap',
    'rank_patches',
    'reliability',
    'select_support',
    'selected_similarity',
    'sinkhorn',
    'tempered',
    'transport_cost',
]
