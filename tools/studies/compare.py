"""Methods side by side on the embedded demo: zero-shot, CoOp, PLOT, GalLoP, SOT-GLP, baselines.

    python tools/studies/compare.py
    DATA=/datasets python tools/studies/compare.py --datasets eurosat caltech101

tunes each method's learning rate on validation images, with the same number of tries, measures it
with three seeds on both datasets, and writes work_dirs/compare/compare.{md,json}. Baselines of
image embeddings alone have the same shots, seeds and validation images.
"""

import json

import study

METHODS = [
    study.Variant('zero-shot', 'zero_shot', learns=False),
    study.Variant('CoOp', 'coop'),
    study.Variant('PLOT', 'plot'),
    study.Variant('GalLoP', 'gallop'),
    study.Variant('SOT-GLP', 'sotglp'),
    study.Variant('SOT-GLP, no projection', 'sotglp_noproj'),
    study.Variant('Tip-Adapter, training-free', 'tip_adapter', learns=False),
    study.Variant('Gaussian discriminant', 'gaussian_discriminant', learns=False),
    study.Variant('linear probe', 'linear_probe', learns=False),
]
NOTE = """
The last three learn no prompts and see image embeddings alone; their settings are chosen on the
same validation images, for each seed, and they have no OOD scores.
"""


def main() -> None:
    args = study.parse_args(__doc__.splitlines()[0], 'work_dirs/compare', seeds=[1, 2, 3])
    methods = study.chosen(METHODS, args.only)
    rows = study.run(methods, args.datasets, args.seeds, args.work_dir, args.workers)
    (args.work_dir / 'compare.json').write_text(json.dumps(rows, indent=1) + '\n')
    text = study.caption(rows) + NOTE + study.table(rows)
    (args.work_dir / 'compare.md').write_text(text)
    print(f'\n{text}\nwritten to {args.work_dir}')


if __name__ == '__main__':
    main()
