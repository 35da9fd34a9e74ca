"""``python tools/visualize_plan.py``: see :mod:`sotglp_mm.apis.visualize_plan`."""

from sotglp_mm.apis.visualize_plan import main

if __name__ == '__main__':
    main()
