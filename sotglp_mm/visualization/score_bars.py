"""The best classes of an image as bars, one for each branch."""

from typing import TYPE_CHECKING

import numpy as np

from .plan_picture import PlanPicture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

GREEN, RED = '#1a7f37', '#c1121f'
BARS = {'combined': '#222222', 'global': '#8a8a8a', 'local': '#c9c9c9'}
"""Greys: colours belong to the prompts."""


def draw_scores(axes: 'Axes', picture: PlanPicture, num_classes: int = 5) -> None:
    """Bars of the best classes of the combined prediction, and of the true one if not among them.

    Args:
        axes: matplotlib's.
        picture: What is drawn.
        num_classes: How many are the best.
    """
    shown, true_rank = _shown_classes(picture, num_classes)
    present = [branch for branch in BARS if branch in picture.scores]
    height = 0.6 / len(present)
    for number, branch in enumerate(present):
        values = 100 * np.asarray(picture.scores[branch])[shown]
        places = np.arange(len(shown)) + (number + 0.5) * height
        bars = axes.barh(places, values, height, color=BARS[branch], label=branch)
        weight = 'bold' if branch == 'combined' else 'normal'
        axes.bar_label(bars, fmt=' %.0f', fontsize=7, fontweight=weight)
    for place, label in enumerate(shown):
        # above its bars: beside them, long names would leave the bars no room
        name = _label(picture, label, true_rank)
        text = axes.annotate(name, (0, place - 0.05), (3, 0), textcoords='offset points')
        text.set_fontsize('small')
        text.set_in_layout(False)  # or the axes would make way for it
        _emphasise(text, picture, label)
    _dress(axes, len(shown))


def short_name(picture: PlanPicture, label: int, width: int) -> str:
    """A class's name, cut to ``width`` characters; a dollar sign starts no formula."""
    name = str(picture.class_names[label])
    if len(name) > width:  # names of a kind differ at the end as often as at the beginning
        end = width // 3
        name = f'{name[: width - 1 - end].rstrip()}…{name[-end:].lstrip()}'
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
    suffix = ''
    if label == picture.true_label:
        suffix = f' (true, rank {true_rank})' if true_rank > 1 else ' (true)'
    return short_name(picture, label, 44 - len(suffix)) + suffix


def _emphasise(text: 'Text', picture: PlanPicture, label: int) -> None:
    if label == picture.true_label:
        text.set(color=GREEN, fontweight='bold')
    elif label == picture.predicted and picture.true_label is not None:
        text.set(color=RED, fontweight='bold')


def _dress(axes: 'Axes', num_shown: int) -> None:
    axes.set_ylim(-0.4, num_shown - 0.3)
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.tick_params(labelsize='small')
    axes.set_xlabel('probability, %', fontsize='small')
    axes.legend(  # above: below, it would lie on the bars of a flat prediction
        fontsize='small', loc='lower center', bbox_to_anchor=(0.5, 1), ncols=3, frameon=False
    )
    axes.spines[['top', 'right']].set_visible(False)
