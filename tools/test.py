"""The same as ``sotglp test``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
