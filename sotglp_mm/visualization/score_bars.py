"""The best classes of an image as bars, one for each branch."""

import numpy as np

from .plan_picture import PlanPicture

GREEN, RED = '#1a7f37', '#c1121f'
BARS = {'combined': '#222222', 'global': '#8a8a8a', 'local': '#c9c9c9'}
"""Greys: colours belong to the prompts."""


def draw_scores(axes, picture: PlanPicture, num_classes: int = 5) -> None:
    """Bars of the best classes of the combined prediction, and of the true one if not among them.

    Args:
        axes: matplotlib's.
        picture: What is drawn.
        num_classes: How many are the best.
    """
    shown, true_rank = _shown_classes(picture, num_classes)
    present = [branch for branch in BARS if branch in picture.scores]
    height = 0.8 / len(present)
    for number, branch in enumerate(present):
        values = 100 * np.asarray(picture.scores[branch])[shown]
        places = np.arange(len(shown)) + (number - (len(present) - 1) / 2) * height
        bars = axes.barh(places, values, height, color=BARS[branch], label=branch)
        weight = 'bold' if branch == 'combined' else 'normal'
        axes.bar_label(bars, fmt=' %.0f', fontsize=7, fontweight=weight)
    axes.set_yticks(range(len(shown)), [_label(picture, c, true_rank) for c in shown])
    for text, label in zip(axes.get_yticklabels(), shown):
        _emphasise(text, picture, label)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.tick_params(labelsize='small')
    axes.set_xlabel('probability, %', fontsize='small')
    axes.legend(  # above: below, it would lie on the bars of a flat prediction
        fontsize='small', loc='lower center', bbox_to_anchor=(0.5, 1), ncols=3, frameon=False
    )
    axes.spines[['top', 'right']].set_visible(False)


def short_name(picture: PlanPicture, label: int, width: int) -> str:
    """A class's name, cut to ``width`` characters; a dollar sign starts no formula."""
    name = str(picture.class_names[label])
    name = name if len(name) <= width else name[: width - 1].rstrip() + '…'
    return name.replace('$', r'\$')


def _shown_classes(picture: PlanPicture, num_classes: int) -> tuple[list[int], int]:
    """Labels to show, best first, and the rank of the true class, from 1 on (0: not known)."""
    order = np.argsort(-np.asarray(picture.scores['combined']), kind='stable').tolist()
    shown = order[:num_classes]
    if picture.true_label is None:
        return shown, 0
    rank = order.index(picture.true_label) + 1
    return (shown if rank <= num_classes else [*shown, picture.true_label]), rank


def _label(picture: PlanPicture, label: int, true_rank: int) -> str:
    name = short_name(picture, label, 24)
    if label != picture.true_label:
        return name
    return f'{name}\n(true)' if true_rank <= 5 else f'{name}\n(true, rank {true_rank})'


def _emphasise(text, picture: PlanPicture, label: int) -> None:
    if label == picture.true_label:
        text.set(color=GREEN, fontweight='bold')
    elif label == picture.predicted and picture.true_label is not None:
        text.set(color=RED, fontweight='bold')
