"""The former place of benchmarks/speed.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / 'benchmarks'))

from speed import main

if __name__ == '__main__':
    main(sys.argv[1:])
