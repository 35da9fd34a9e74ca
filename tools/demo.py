"""The same as ``sotglp demo``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['demo', *sys.argv[1:]]))
