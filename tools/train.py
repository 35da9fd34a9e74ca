"""``python tools/train.py``: see :func:`sotglp_mm.apis.train`."""

from sotglp_mm.apis.command_line import train_main

if __name__ == '__main__':
    train_main()
