"""``python tools/check_data.py``: see :mod:`sotglp_mm.apis.check_data`."""

from sotglp_mm.apis.check_data import main

if __name__ == '__main__':
    main()
