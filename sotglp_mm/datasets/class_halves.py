"""Base and new classes, as CoOp and CoCoOp divide a dataset's classes."""

HALVES = ('base', 'new')


def labels_of(half: str, num_classes: int) -> range:
    """Labels of one half: the first ``ceil(C / 2)`` classes are 'base', the others 'new'.

    Raises:
        ValueError: There is no such half.
    """
    if half not in HALVES:
        raise ValueError(f'classes={half!r} is not known; choose one of {HALVES}')
    middle = (num_classes + 1) // 2
    return range(middle) if half == 'base' else range(middle, num_classes)
