"""The picture of a plan: colours lie where the plan's mass is, and everything fits."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from sotglp_mm.visualization import ClassPlan, PlanPicture, draw_plan
from sotglp_mm.visualization.draw_plan import COLOURS, opacity, plan_figure
from sotglp_mm.visualization.plan_picture import class_plan, patch_grid

LONG = 'a greater Swiss mountain dog of a kind with a very_long $name$ no. '


def make_plan(num_prompts: int = 3, k: int = 4, label: int = 0) -> ClassPlan:
    """Patch i goes to prompt i (mod N), whole."""
    plan = np.zeros((k, num_prompts))
    plan[np.arange(k), np.arange(k) % num_prompts] = 1 / k
    return ClassPlan(label, np.arange(k) * 5, plan, np.full((k, num_prompts), 0.5))


def make_picture(size: int = 64, grid: int = 8, classes: int = 24, **changed) -> PlanPicture:
    scores = {b: np.full(classes, 0.5 / classes) for b in ('combined', 'global', 'local')}
    for values in scores.values():
        values[0] += 0.5
    picture = PlanPicture(
        image=np.full((size, size, 3), 200, dtype=np.uint8),
        grid=(grid, grid),
        plans=(make_plan(),),
        class_names=[f'class {number}' for number in range(classes)],
        scores=scores,
        true_label=0,
    )
    return picture._replace(**changed)


class Drawn:
    """A picture, and how to look at it."""

    def __init__(self, picture: PlanPicture):
        self.picture = picture
        self.figure = plan_figure(picture)
        self.pixels = draw_plan(picture)
        self.figure.canvas.draw()
        self.images = [axes for axes in self.figure.axes if axes.images]

    def at_patch(self, axes: int, patch: int) -> np.ndarray:
        """RGB in [0, 1] at a patch's centre; axes: 0 the image, 1 the division, 2... prompts."""
        (rows, columns), (height, width) = self.picture.grid, self.picture.image.shape[:2]
        row, column = divmod(patch, columns)
        centre = ((column + 0.5) * width / columns - 0.5, (row + 0.5) * height / rows - 0.5)
        x, y = self.images[axes].transData.transform(centre)
        return self.pixels[len(self.pixels) - 1 - int(y), int(x)] / 255

    def words(self) -> str:
        """All text in the figure."""
        from matplotlib.text import Text

        return '\n'.join(text.get_text() for text in self.figure.findobj(Text))


@pytest.fixture(scope='module')
def drawn() -> Drawn:
    return Drawn(make_picture())


def test_patches_have_the_colour_of_the_prompt_that_gets_them(drawn: Drawn):
    assert drawn.pixels.dtype == np.uint8 and drawn.pixels.shape[2:] == (3,)
    assert drawn.pixels.flags.owndata, 'the canvas must not be able to change it'
    for number, patch in enumerate((0, 5, 10, 15)):
        expected = np.array(to_rgb(COLOURS[number % 3]))
        assert np.abs(drawn.at_patch(1, patch) - expected).max() < 0.06
    for patch in (1, 20, 63):
        red, green, blue = drawn.at_patch(1, patch)
        assert red == green == blue, 'nothing was selected there'
    # heat maps of prompts: patches 0 and 15 are prompt 0's; 5 is prompt 1's
    assert np.abs(drawn.at_patch(2, 15) - to_rgb(COLOURS[0])).max() < 0.06
    assert np.ptp(drawn.at_patch(2, 5)) == 0
    assert np.abs(drawn.at_patch(3, 5) - to_rgb(COLOURS[1])).max() < 0.06


def test_patches_of_an_image_and_grid_that_are_not_square():
    image = np.full((32, 64, 3), 90, dtype=np.uint8)
    image[:16, :16] = (250, 0, 0)
    plan = make_plan(num_prompts=2, k=1)._replace(support=np.array([11]))
    drawn = Drawn(make_picture(image=image, plans=(plan,))._replace(grid=(2, 8)))
    assert drawn.at_patch(0, 0) == pytest.approx((250 / 255, 0, 0), abs=0.01)
    assert drawn.at_patch(0, 15) == pytest.approx(90 / 255, abs=0.01)
    assert np.ptp(drawn.at_patch(1, 11)) > 0.2
    assert np.ptp(drawn.at_patch(1, 3)) == 0


def test_patches_that_all_prompts_share_or_none_gets_are_grey():
    even = ClassPlan(0, np.array([9]), np.full((1, 4), 0.25), np.full((1, 4), 0.5))
    assert even.winner.tolist() == [-1]
    assert np.ptp(Drawn(make_picture(plans=(even,))).at_patch(1, 9)) < 0.01
    plan = np.array([[1.0, 0.0], [0.0, 0.0]])
    drawn = Drawn(make_picture(plans=(class_plan(0, np.array([9, 36]), plan, plan),)))
    assert np.abs(drawn.at_patch(1, 9) - to_rgb(COLOURS[0])).max() < 0.06
    assert np.ptp(drawn.at_patch(1, 36)) < 0.01
    assert '1 of 64 patches' in drawn.words()


@pytest.mark.parametrize('num_prompts', [1, 2, 4, 6, 9])
def test_opacity_grows_with_the_share(num_prompts: int):
    shares = np.linspace(0, 1, 11)
    values = opacity(shares, num_prompts)
    assert values[0] == 0
    assert values[-1] == pytest.approx(0.95)
    assert (np.diff(values) > 0).all()


def test_right_and_wrong(drawn: Drawn):
    assert 'Predicted: class 0 (52 %), right' in drawn.words()
    assert 'class 0 (predicted and true)' in drawn.words()
    plans = (make_plan(label=0), make_plan(label=23))
    wrong = Drawn(make_picture(true_label=23, plans=plans))
    assert 'Predicted: class 0 (52 %), wrong\nTrue: class 23' in wrong.words()
    assert 'class 23 (true, rank 24)' in wrong.words(), 'not among the best, and shown'
    assert 'class 0 (predicted)' in wrong.words()
    unknown = Drawn(make_picture(true_label=None)).words()
    assert 'Predicted: class 0 (52 %)' in unknown
    assert 'true' not in unknown
    assert 'right' not in unknown
    scores = make_picture().scores
    del scores['global']  # of a model without this branch
    drawn = Drawn(make_picture(scores=scores))
    assert 'local' in drawn.words() and 'global' not in drawn.words()


def test_known_parts_are_outlined():
    parts = [dict(box=(40, 40, 60, 60), of_class=True)]
    plain, boxed = draw_plan(make_picture()), draw_plan(make_picture(parts=parts))
    assert plain.shape == boxed.shape
    assert (plain != boxed).any(axis=2).sum() > 100


@pytest.mark.parametrize(
    ('num_prompts', 'size', 'grid', 'classes'),
    [(1, 64, 8, 24), (4, 224, 14, 1000), (5, 64, 8, 24), (10, 224, 14, 1000)],
)
def test_everything_fits(num_prompts: int, size: int, grid: int, classes: int):
    names = [f'{LONG}{number}' for number in range(classes)]
    plans = tuple(make_plan(num_prompts, 10, label) for label in (0, classes - 1))
    picture = make_picture(size, grid, classes, class_names=names, plans=plans)
    figure = plan_figure(picture._replace(true_label=classes - 1))
    figure.canvas.draw()
    renderer, whole = figure.canvas.get_renderer(), figure.bbox
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes.append(figure._suptitle.get_window_extent(renderer))
    for box in boxes:
        assert box.x0 >= whole.x0 - 1, 'cut off at the left'
        assert box.x1 <= whole.x1 + 1, 'cut off at the right'
        assert box.y0 >= whole.y0 - 1, 'cut off below'
        assert box.y1 <= whole.y1 + 1, 'cut off above'
    names_of_bars = [t.get_window_extent(renderer) for axes in figure.axes for t in axes.texts]
    assert max(box.x1 for box in names_of_bars) <= whole.x1 + 1
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            overlap = box.intersection(box, other)
            assert overlap is None or min(overlap.width, overlap.height) < 3
    assert len([axes for axes in figure.axes if axes.images]) == 1 + 2 * (1 + num_prompts)
    # a dollar sign starts no formula
    assert r'…\$name\$ no. 0 (5' in figure._suptitle.get_text()


def test_grid_of_patches():
    assert patch_grid(196, 224, 224) == (14, 14)
    assert patch_grid(8, 32, 64) == (2, 4)
    with pytest.raises(ValueError, match='195 square patches do not cover'):
        patch_grid(195, 224, 224)


def test_supports_of_their_own():
    """Prompt 0 has patches 7 and 3, prompt 1 has 3 and, without mass, 9."""
    support = np.array([[7, 3], [3, 9]])
    plan = np.array([[0.25, 0.5], [0.25, 0.0]])
    similarity = np.array([[0.4, 0.6], [0.8, 0.1]])
    merged = class_plan(5, support, plan, similarity)
    assert merged.label == 5
    assert merged.support.tolist() == [3, 7]
    assert merged.plan.tolist() == [[0.25, 0.5], [0.25, 0.0]]
    assert merged.cosine == pytest.approx([0.6, 0.6])  # weighted by the plan
    assert merged.winner.tolist() == [1, 0]
    assert merged.fullness == pytest.approx([1, 1 / 3])
    assert merged.largest_share == pytest.approx(0.75)
    words = Drawn(make_picture(plans=(merged,))).words()
    assert '2 of 64 patches, largest share 75 % (even 50)' in words
