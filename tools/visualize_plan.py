"""The same as ``sotglp show``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['show', *sys.argv[1:]]))
