"""``python tools/test.py``: see :func:`sotglp_mm.apis.test`."""

from sotglp_mm.apis.command_line import test_main

if __name__ == '__main__':
    test_main()
