"""``python tools/summarize_runs.py``: see :mod:`sotglp_mm.campaign.summarize_runs`."""

from sotglp_mm.campaign.summarize_runs import main

if __name__ == '__main__':
    main()
