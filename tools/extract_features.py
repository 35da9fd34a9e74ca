"""The same as ``sotglp extract``."""

import sys

from sotglp_cli import main

if __name__ == '__main__':
    sys.exit(main(['extract', *sys.argv[1:]]))
