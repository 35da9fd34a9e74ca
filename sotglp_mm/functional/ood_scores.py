"""Scores of being out of distribution: lower means more like the known classes.

Cosines go in as they are, without CLIP's logit scale; the temperature ``tau`` decides how sharply
classes compete, and belongs beside every number that is reported.
"""

from torch import Tensor


def mcm(global_similarity: Tensor, tau: float = 1.0) -> Tensor:
    """Maximum concept matching on the image embedding [Ming22]_.

    .. [Ming22] Y. Ming et al., "Delving into out-of-distribution detection with vision-language
       representations", NeurIPS 2022.

    Args:
        global_similarity: (B, C, G), cosines of images and global prompts.
        tau: Temperature, > 0.

    Returns:
        Tensor: (B,), in [-1, 0).
    """
    return -_softmax(global_similarity.mean(dim=-1), tau).amax(dim=-1)


def local_mcm(local_similarity: Tensor, tau: float = 1.0) -> Tensor:
    """The same on patches: the most decided of all patches speaks for the image.

    Args:
        local_similarity: (B, P, C, N), cosines of all patches (not only selected ones) and
            local prompts.
        tau: Temperature, > 0.

    Returns:
        Tensor: (B,), in [-1, 0).
    """
    return -_softmax(local_similarity.mean(dim=-1), tau).flatten(1).amax(dim=-1)


def gl_mcm(global_similarity: Tensor, local_similarity: Tensor, tau: float = 1.0) -> Tensor:
    """Global and local maximum concept matching [Miyai23]_, added.

    .. [Miyai23] A. Miyai et al., "GL-MCM: Global and local maximum concept matching for zero-shot
       out-of-distribution detection", IJCV 2025.

    Args:
        global_similarity: (B, C, G).
        local_similarity: (B, P, C, N).
        tau: Temperature, > 0, of both terms.

    Returns:
        Tensor: (B,), in [-2, 0).
    """
    return mcm(global_similarity, tau) + local_mcm(local_similarity, tau)


def _softmax(similarity: Tensor, tau: float) -> Tensor:
    if not tau > 0:
        raise ValueError(f'the temperature tau must be > 0, got {tau}')
    # at tau = 1000 all probabilities are about 1/C: in float32 most images would tie
    return (similarity.double() / tau).softmax(dim=-1)
