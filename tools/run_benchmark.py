"""``python tools/run_benchmark.py``: see :mod:`sotglp_mm.campaign.run_benchmark`."""

from sotglp_mm.campaign.run_benchmark import main

if __name__ == '__main__':
    main()
