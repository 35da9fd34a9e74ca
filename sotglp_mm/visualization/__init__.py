"""Drawing how optimal transport divides an image's patches, and the hook that does so in a run."""

from .draw_plan import draw_plan
from .plan_picture import ClassPlan, PlanPicture, classifier_problem, pictures_of_batch
from .plan_visualization_hook import PlanVisualizationHook

__all__ = [
    'ClassPlan',
    'PlanPicture',
    'PlanVisualizationHook',
    'classifier_problem',
    'draw_plan',
    'pictures_of_batch',
]
