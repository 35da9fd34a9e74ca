"""SOT-GLP in plain loops: the oracle that the package is judged by. It shares no code with it.

numpy and Python floats, one image, one class, one patch at a time, straight from the equations.
"""

import math

import numpy as np


def softmax(row: np.ndarray) -> np.ndarray:
    """Of one row of numbers."""
    shifted = [math.exp(x - max(row)) for x in row]
    return np.array([x / sum(shifted) for x in shifted])


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One head: q, k, v (L, w) -> (L, w)."""
    out = np.zeros_like(v)
    for i in range(len(q)):
        weights = softmax([float(q[i] @ k[j]) / math.sqrt(q.shape[1]) for j in range(len(k))])
        for j in range(len(v)):
            out[i] += weights[j] * v[j]
    return out


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Over the last axis, epsilon 1e-5."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def _mlp(x: np.ndarray, w: dict, block: str) -> np.ndarray:
    hidden = x @ w[f'{block}.mlp.c_fc.weight'].T + w[f'{block}.mlp.c_fc.bias']
    hidden = hidden / (1 + np.exp(-1.702 * hidden))  # QuickGELU
    return hidden @ w[f'{block}.mlp.c_proj.weight'].T + w[f'{block}.mlp.c_proj.bias']


def _attend(t: np.ndarray, w: dict, block: str, heads: int, values_only: bool) -> np.ndarray:
    packed = t @ w[f'{block}.attn.in_proj_weight'].T + w[f'{block}.attn.in_proj_bias']
    q, k, v = np.split(packed, 3, axis=-1)
    if values_only:
        q, k = v, v
    parts = zip(*(np.split(x, heads, axis=-1) for x in (q, k, v)))
    merged = np.concatenate([attention(*part) for part in parts], axis=-1)
    return merged @ w[f'{block}.attn.out_proj.weight'].T + w[f'{block}.attn.out_proj.bias']


def image_tower(
    image: np.ndarray, w: dict, layers: int, heads: int, first_block_residual: bool
) -> tuple[np.ndarray, np.ndarray]:
    """One image (3, H, W) -> [CLS] (W,), V-V patches (P, W), with QuickGELU weights ``w``."""
    kernel = w['visual.conv1.weight']
    size = kernel.shape[-1]
    tokens = [w['visual.class_embedding']]
    for top in range(0, image.shape[1], size):
        for left in range(0, image.shape[2], size):
            patch = image[:, top : top + size, left : left + size]
            tokens.append(np.array([(patch * filt).sum() for filt in kernel]))
    x = np.stack(tokens) + w['visual.positional_embedding']
    x = layer_norm(x, w['visual.ln_pre.weight'], w['visual.ln_pre.bias'])
    z = x.copy()
    for layer in range(layers):
        block = f'visual.transformer.resblocks.{layer}'
        t = layer_norm(x, w[f'{block}.ln_1.weight'], w[f'{block}.ln_1.bias'])
        a = _attend(t, w, block, heads, values_only=False)
        z = z + _attend(t, w, block, heads, values_only=True)
        if layer == 0 and first_block_residual:
            z = z + a
        x = x + a
        x = x + _mlp(layer_norm(x, w[f'{block}.ln_2.weight'], w[f'{block}.ln_2.bias']), w, block)
    norm = w['visual.ln_post.weight'], w['visual.ln_post.bias']
    return layer_norm(x[0], *norm), layer_norm(z[1:], *norm)


def rank(similarities: np.ndarray, how: str) -> float:
    """A patch's N similarities as one number."""
    if how == 'mean':
        return sum(similarities) / len(similarities)
    if how == 'max':
        return max(similarities)
    return 0.05 * math.log(sum(math.exp(x / 0.05) for x in similarities))


def support(similarity: np.ndarray, k: int, how: str = 'mean') -> np.ndarray:
    """(B, P, C, N) -> (B, C, K): best patches first, of equal ones the lower index."""
    num_images, num_patches, num_classes, _ = similarity.shape
    chosen = np.zeros((num_images, num_classes, k), dtype=int)
    for b in range(num_images):
        for c in range(num_classes):
            ranks = [rank(similarity[b, p, c], how) for p in range(num_patches)]
            chosen[b, c] = sorted(range(num_patches), key=lambda p: (-ranks[p], p))[:k]
    return chosen


def sinkhorn(similarity: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """One problem (K, N): the plan after so many iterations, in float64."""
    kernel = np.exp(-(1 - similarity.astype(np.float64)) / epsilon)
    k, n = kernel.shape
    column = np.ones(n)
    for _ in range(iterations):
        row = np.array([1 / k / (kernel[i] @ column) for i in range(k)])
        column = np.array([1 / n / (kernel[:, j] @ row) for j in range(n)])
    return np.array([[row[i] * kernel[i, j] * column[j] for j in range(n)] for i in range(k)])


def released_iterations(similarity: np.ndarray, epsilon: float = 0.1) -> int:
    """When the released program stops a batch (B, C, K, N): mean change of the rows < 1e-2."""
    kernel = np.exp(-(1 - similarity.astype(np.float64)) / epsilon)
    *batch, k, n = kernel.shape
    row, column = np.ones((*batch, k)), np.ones((*batch, n))
    for iteration in range(1, 101):
        previous = row
        row = 1 / k / np.einsum('bckn,bcn->bck', kernel, column)
        column = 1 / n / np.einsum('bckn,bck->bcn', kernel, row)
        if np.abs(row - previous).mean() < 1e-2:
            return iteration
    return 100


def local_score(plan: np.ndarray, similarity: np.ndarray, reduction: str) -> float:
    """One class of one image, (K, N)."""
    total = 0.0
    for i in range(plan.shape[0]):
        for j in range(plan.shape[1]):
            total += plan[i, j] * similarity[i, j]
    return total / plan.shape[1] if reduction == 'mean' else total


def cross_entropy(logits: np.ndarray, label: int) -> float:
    """Of one image."""
    largest = max(logits)
    return largest + math.log(sum(math.exp(x - largest) for x in logits)) - logits[label]


def few_shot(labels: list[int], num_shots: int) -> dict[int, int]:
    """How many images of each class a 'per_class' few-shot set has."""
    return {c: min(num_shots, labels.count(c)) for c in set(labels)}
