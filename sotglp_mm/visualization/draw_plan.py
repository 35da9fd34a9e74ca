"""One picture of how a class's prompts divide an image's patches; matplotlib without a screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .plan_picture import ClassPlan, PlanPicture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    *('#0072b2', '#d55e00', '#009e73', '#cc79a7'),
    *('#e69f00', '#56b4e9', '#882255', '#bcbd22'),
)
"""Of the prompts, in order (then they repeat); colour-blind people can distinguish them."""

EVEN = '#707070'
"""Of a patch that no prompt gets more of than the others."""

GREEN, RED = '#1a7f37', '#c1121f'
BARS = {'combined': '#222222', 'global': '#8a8a8a', 'local': '#c9c9c9'}
"""Greys: colours belong to the prompts."""

LEFT, RIGHT, DPI = 3.2, 4.2, 100  # widths in inches: pictures; bars and heat-maps, at least
SMALL = 1.6  # width of a heat-map


def draw_plan(picture: PlanPicture) -> np.ndarray:
    """Draw as uint8 (height, width, 3), RGB.

    At the top the image and the best classes; below, for each plan, the selected patches in the
    colour of the prompt that gets most of their mass (the stronger, the more of it), and a
    heat-map for each prompt.
    """
    figure = plan_figure(picture)
    canvas: Any = figure.canvas  # an Agg canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plan_figure(picture: PlanPicture) -> 'Figure':
    """The same as a ``matplotlib.figure.Figure`` on an Agg canvas, to be changed or saved."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    most_prompts = max((plan.plan.shape[1] for plan in picture.plans), default=0)
    right = max(RIGHT, SMALL * ((most_prompts + 1) // 2))
    figure = Figure((LEFT + right, 0.5 + LEFT * 1.2 * (1 + len(picture.plans))), dpi=DPI)
    figure.set_layout_engine('constrained', w_pad=0.08, h_pad=0.08)
    FigureCanvasAgg(figure)
    _draw_title(figure, picture)
    grid = figure.add_gridspec(1 + len(picture.plans), 2, width_ratios=(LEFT, right))
    axes = figure.add_subplot(grid[0, 0])
    _draw_image(axes, picture.image)
    _draw_parts(axes, picture.parts)
    axes.set_title('what the model saw', fontsize='small')
    _draw_scores(figure.add_subplot(grid[0, 1]), picture)
    for row, plan in enumerate(picture.plans, start=1):
        _draw_division(figure.add_subplot(grid[row, 0]), picture, plan)
        num_prompts = plan.plan.shape[1]
        lines = 1 if num_prompts == 1 else 2
        cells = grid[row, 1].subgridspec(lines, -(-num_prompts // lines))
        for prompt in range(num_prompts):
            cell = cells[divmod(prompt, cells.ncols)]
            _draw_prompt(figure.add_subplot(cell), picture, plan, prompt)
    return figure


def colour_of(prompt: int) -> str:
    """Of a prompt, or of -1, none in particular."""
    return EVEN if prompt < 0 else COLOURS[prompt % len(COLOURS)]


def opacity(share: np.ndarray, num_prompts: int) -> np.ndarray:
    """Of a patch of which a prompt gets a part: none 0, an even share about 0.5, all 0.95.

    Steepest around an even share, because plans differ there.
    """
    even_shares = np.clip(share, 0, 1) * num_prompts
    return 0.95 * (1 - np.exp(-0.7 * even_shares)) / (1 - np.exp(-0.7 * num_prompts))


def _draw_title(figure: 'Figure', picture: PlanPicture) -> None:
    predicted, true = picture.predicted, picture.true_label
    percent = 100 * picture.scores['combined'][predicted]
    text = f'Predicted: {_short_name(picture, predicted, 40)} ({percent:.0f} %)'
    if true is None:
        colour = 'black'
    elif true == predicted:
        text, colour = f'{text}, right', GREEN
    else:
        text, colour = f'{text}, wrong\nTrue: {_short_name(picture, true, 40)}', RED
    figure.suptitle(text, color=colour, fontsize='large', fontweight='bold')


def _draw_image(axes: 'Axes', image: np.ndarray) -> None:
    # a small image keeps its pixels: smoothed, it would claim detail that it has not
    small = max(image.shape[:2]) < 128
    axes.imshow(image, interpolation='nearest' if small else 'antialiased')
    axes.set(xticks=[], yticks=[])


def _draw_pale(axes: 'Axes', image: np.ndarray) -> None:
    """In light greys, so that all colour is the prompts'."""
    grey = image.astype(float) @ (0.299, 0.587, 0.114)
    _draw_image(axes, np.repeat((160 + 0.37 * grey)[..., None], 3, axis=2).astype(np.uint8))


def _draw_parts(axes: 'Axes', parts: Sequence) -> None:
    """Whole lines: parts of the true class; dotted ones: of none."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    for part in parts:
        x0, y0, x1, y1 = part['box']
        style = '-' if part.get('of_class', True) else ':'
        box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, ec='white', ls=style)
        box.set(lw=1, path_effects=[withStroke(linewidth=2.5, foreground='black')])
        axes.add_patch(box)


def _draw_division(axes: 'Axes', picture: PlanPicture, plan: ClassPlan) -> None:
    _draw_pale(axes, picture.image)
    opacities = opacity(plan.share.max(axis=1), plan.plan.shape[1]) * plan.fullness
    for patch, prompt, alpha in zip(plan.support, plan.winner, opacities):
        _fill_patch(axes, picture, patch, colour_of(prompt), alpha, outline=1.6)
    _draw_parts(axes, picture.parts)
    labels = dict(predicted=picture.predicted, true=picture.true_label)
    roles = ' and '.join(word for word, label in labels.items() if label == plan.label)
    title = _short_name(picture, plan.label, 30) + (f' ({roles})' if roles else '')
    even = 100 / plan.plan.shape[1]
    shares = f'largest share {100 * plan.largest_share:.0f} % (even {even:.0f})'
    in_use = (plan.fullness > 0.01).sum()  # capped transport leaves patches out
    count = f'{in_use} of {np.prod(picture.grid)} patches'
    axes.set_title(f'{title}\n{count}, {shares}', fontsize=7.5)


def _draw_prompt(axes: 'Axes', picture: PlanPicture, plan: ClassPlan, prompt: int) -> None:
    _draw_pale(axes, picture.image)
    opacities = opacity(plan.share[:, prompt], plan.plan.shape[1]) * plan.fullness
    for patch, alpha in zip(plan.support, opacities):
        _fill_patch(axes, picture, patch, colour_of(prompt), alpha, outline=0.4)
    for spine in axes.spines.values():
        spine.set(color=colour_of(prompt), linewidth=2)
    title = f'prompt {prompt + 1}, cosine {plan.cosine[prompt]:.2f}'
    axes.set_title(title, fontsize='small', color=colour_of(prompt))


def _fill_patch(
    axes: 'Axes', picture: PlanPicture, patch: int, colour: str, alpha: float, outline: float
) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    (rows, columns), (height, width) = picture.grid, picture.image.shape[:2]
    row, column = divmod(int(patch), columns)
    size = (width / columns, height / rows)
    corner = (column * size[0] - 0.5, row * size[1] - 0.5)
    face = to_rgba(colour, alpha)
    axes.add_patch(Rectangle(corner, *size, fc=face, ec=colour, lw=outline))


def _draw_scores(axes: 'Axes', picture: PlanPicture, num_classes: int = 5) -> None:
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
        name = _short_name(picture, label, 44 - len(suffix)) + suffix
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


def _short_name(picture: PlanPicture, label: int, width: int) -> str:
    """A class's name, cut to ``width`` characters; a dollar sign starts no formula."""
    name = str(picture.class_names[label])
    if len(name) > width:  # names of a kind differ at the end as often as at the beginning
        end = width // 3
        name = f'{name[: width - 1 - end].rstrip()}…{name[-end:].lstrip()}'
    return name.replace('$', r'\$')
