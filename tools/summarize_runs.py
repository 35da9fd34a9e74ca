"""The same as ``sotglp summary``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['summary', *sys.argv[1:]]))
