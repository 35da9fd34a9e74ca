"""Tensors in, tensors out: the mathematics of SOT-GLP, without any framework around it.

Imports torch and :mod:`sotglp_mm.structures` only.
"""

from .local_score import local_scores, transport_cost
from .ood_scores import gl_mcm, local_mcm, mcm
from .patch_support import gather_support, rank_patches, select_support
from .sinkhorn import sinkhorn
from .vv_attention import attend_with_values, dual_attention

__all__ = [
    'attend_with_values',
    'dual_attention',
    'gather_support',
    'gl_mcm',
    'local_mcm',
    'local_scores',
    'mcm',
    'rank_patches',
    'select_support',
    'sinkhorn',
    'transport_cost',
]
