"""``python tools/test.py``: see :mod:`sotglp_mm.apis.test`."""

from sotglp_mm.apis.test import main

if __name__ == '__main__':
    main()
