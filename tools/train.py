"""The same as ``sotglp train``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
