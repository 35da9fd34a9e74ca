"""The same as ``sotglp campaign``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['campaign', *sys.argv[1:]]))
