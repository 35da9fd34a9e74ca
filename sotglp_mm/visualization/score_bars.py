"""The best classes of an image as bars, one for each branch."""

from typing import TYPE_CHECKING

import numpy as np

from .plan_picture import PlanPicture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREEN, RED = '#1a7f37', '#c1121f'
BARS = {'combined': '#222222', 'global': '#8a8a8a', 'local': '#c9c9c9'}
"""Greys: colours belong to the prompts."""


def draw_scores(axes: 'Axes', picture: PlanPicture, num_classes: int = 5) -> None:
    """Bars of the best classes (combined), and of the true one if it is not among them."""
    order = np.argsort(-np.asarray(picture.scores['combined']), kind='stable').tolist()
    shown, rank = order[:num_classes], 0
    if picture.true_label is not None:
        rank = order.index(picture.true_label) + 1
        shown += [picture.true_label] if rank > num_classes else []
    present = [branch for branch in BARS if branch in picture.scores]
    height = 0.6 / len(present)
    for number, branch in enumerate(present):
        values = 100 * np.asarray(picture.scores[branch])[shown]
        places = np.arange(len(shown)) + (number + 0.5) * height
        bars = axes.barh(places, values, height, color=BARS[branch], label=branch)
        weight = 'bold' if branch == 'combined' else 'normal'
        axes.bar_label(bars, fmt=' %.0f', fontsize=7, fontweight=weight)
    for place, label in enumerate(shown):
        is_true, suffix = label == picture.true_label, ''
        if is_true:
            suffix = f' (true, rank {rank})' if rank > 1 else ' (true)'
        # above its bars: beside them, long names would leave the bars no room
        name = short_name(picture, label, 44 - len(suffix)) + suffix
        text = axes.annotate(name, (0, place - 0.05), (3, 0), textcoords='offset points')
        text.set(fontsize='small', in_layout=False)  # or the axes would make way for it
        if is_true:
            text.set(color=GREEN, fontweight='bold')
        elif label == picture.predicted and picture.true_label is not None:
            text.set(color=RED, fontweight='bold')
    axes.set(ylim=(len(shown) - 0.3, -0.4), yticks=[])
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
    if len(name) > width:  # names of a kind differ at the end as often as at the beginning
        end = width // 3
        name = f'{name[: width - 1 - end].rstrip()}…{name[-end:].lstrip()}'
    return name.replace('$', r'\$')
