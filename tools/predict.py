"""``python tools/predict.py``: see :mod:`sotglp_mm.apis.predict`."""

from sotglp_mm.apis.predict import main

if __name__ == '__main__':
    main()
