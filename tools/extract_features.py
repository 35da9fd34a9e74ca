"""``python tools/extract_features.py``: see :mod:`sotglp_mm.apis.extract_features`."""

from sotglp_mm.apis.extract_features import main

if __name__ == '__main__':
    main()
