"""``python tools/demo.py``: see :mod:`sotglp_mm.demo.run_demo`."""

from sotglp_mm.demo.run_demo import main

if __name__ == '__main__':
    main()
