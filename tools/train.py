"""``python tools/train.py``: see :mod:`sotglp_mm.apis.train`."""

from sotglp_mm.apis.train import main

if __name__ == '__main__':
    main()
