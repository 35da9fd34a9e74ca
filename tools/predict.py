"""The same as ``sotglp predict``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['predict', *sys.argv[1:]]))
