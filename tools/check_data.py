"""The same as ``sotglp data``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['data', *sys.argv[1:]]))
