"""Where do patches and prompts look? Supports and plans beside the boxes of Tiny-ImageNet.

    python tools/studies/box_study.py --photos tiny-imagenet-200

learns prompts for the 200 classes from a few photographs of each, and measures on the validation
photographs how much of the true class's support, and of each prompt's mass, lies inside the box of
the object: with patches of the V-V stream, and with CLIP's ordinary ones. A patch is inside if its
centre is. It writes boxes.md and boxes.json.
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import study
import torch
from demo_clip_report import centres_inside, ordinary_patches
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from photo_folder import Photos, class_ids, read_names, read_val
from torch import Tensor

from sotglp_mm.apis import load_config
from sotglp_mm.apis.config import build_runner
from sotglp_mm.models.open_clip_vit import OpenCLIPViT
from sotglp_mm.structures import ALLOCATION_PLAN, ALLOCATION_SUPPORT, ImageFeatures
from sotglp_mm.utils.packaged_files import CONFIGS
from sotglp_mm.utils.tables import markdown_table

PLUS = {
    'model.head.local_init': 'template',
    'model.head.selector': dict(rank='logsumexp', k=20),
    'model.head.local_loss': dict(epsilon=0.02, reduction='sum'),
}
VARIANTS = {'paper': {}, 'soft 20, OT 0.02': PLUS}
STREAMS = {'V-V': 'OpenCLIPViT', 'ordinary': 'OrdinaryPatchesViT'}
COLUMNS = {
    'top-1': 'top1',
    'local': 'top1_local',
    'support in the box': 'support',
    'mass in the box': 'mass',
    'of the prompt most inside': 'most',
    'of the prompt least inside': 'least',
    'all patches': 'chance',
}


@MODELS.register_module()
class OrdinaryPatchesViT(OpenCLIPViT):
    """Patch tokens of CLIP's own stream in the place of the V-V stream's."""

    def forward(self, images: Tensor) -> ImageFeatures:
        patches = ordinary_patches(self.towers.clip.visual, images)
        return ImageFeatures(patches, super().forward(images).image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--photos', type=Path, required=True, help="a folder in Tiny-ImageNet's layout")
    add('--work-dir', type=Path, default=Path('work_dirs/boxes'))
    add('--seeds', type=int, nargs='+', default=[1, 2, 3])
    add('--shots', type=int, default=16)
    add('--epochs', type=int, default=5)
    add('--lr', type=float, default=0.3)
    args = parser.parse_args()
    val = read_val(args.photos, args.work_dir / 'cache')
    rows, cells = [], []
    for stream in STREAMS:
        for variant in VARIANTS:
            of_seeds = [measure(args, stream, variant, seed, val) for seed in args.seeds]
            metrics = {key: [each[key] for each in of_seeds] for key in of_seeds[0]}
            rows.append(dict(stream=stream, variant=variant, metrics=metrics))
            cells.append([stream, variant, *(study.show(metrics[k]) for k in COLUMNS.values())])
    (args.work_dir / 'boxes.json').write_text(json.dumps(rows, indent=1) + '\n')
    text = markdown_table(['patches', 'settings', *COLUMNS], cells)
    (args.work_dir / 'boxes.md').write_text(text)
    print(f'\n{text}\nwritten to {args.work_dir}')


def write_table(photos: Path, val: Photos, file: Path, shots: int, seed: int) -> Path:
    """A table of our own-image dataset: a draw of training photographs, all validation ones.

    Its paths start at its folder, so the photographs are linked there.
    """
    link = file.parent / 'photos'
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)  # of other photographs, perhaps
    link.symlink_to(photos.resolve(), target_is_directory=True)
    known = read_names(photos)
    names: dict[str, str] = {}
    for key in class_ids(photos):
        names[key] = next(name for name in known[key] if name not in names.values())
    rng = np.random.default_rng(seed)
    rows = []
    for key, name in names.items():
        files = sorted((photos / 'train' / key / 'images').iterdir())
        drawn = rng.choice(len(files), shots, replace=False)
        rows += [[link / files[i].relative_to(photos), name, 'train'] for i in sorted(drawn)]
    in_order = list(names.values())
    for image, label in zip(val.files, val.labels):
        rows.append([link / 'val' / 'images' / image, in_order[label], 'test'])
    rows = [[path.relative_to(file.parent), *rest] for path, *rest in rows]
    with file.open('w', newline='', encoding='utf-8') as stream:
        csv.writer(stream).writerows([['path', 'label', 'split'], *rows])
    return file


def measure(
    args: argparse.Namespace, stream: str, variant: str, seed: int, val: Photos
) -> dict[str, float]:
    """Train with one seed; all columns, in percent."""
    table = write_table(args.photos, val, args.work_dir / f'seed{seed}.csv', args.shots, seed)
    work_dir = args.work_dir / f'{stream}_{list(VARIANTS).index(variant)}_seed{seed}'
    options = {
        **VARIANTS[variant],
        'model.backbone.type': STREAMS[stream],
        'model.head.report_allocation': True,
        'train_cfg': dict(max_epochs=args.epochs, val_interval=args.epochs),
        'optim_wrapper.optimizer.lr': args.lr,
        'train_dataloader.dataset.num_shots': args.shots,
        'train_dataloader.batch_size': min(32, args.shots * len(class_ids(args.photos))),
        'randomness.seed': seed,
        'experiment_name': work_dir.name,
    }
    cfg = load_config(CONFIGS / 'photos' / 'sotglp_own.py', options, work_dir, data=table)
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        cfg[key] = None
    runner = build_runner(cfg)
    runner.train()
    metrics = runner.test()
    found = {'top1': metrics['accuracy/top1'], 'top1_local': metrics['accuracy_local/top1']}
    return found | {key: 100 * value for key, value in looking(runner, val).items()}


@torch.no_grad()
def looking(runner: Runner, val: Photos) -> dict[str, float]:
    """Shares inside the box, means over photographs.

    Most and least are of prompts of a class, by their means over its photographs.
    """
    visual = runner.model.towers.clip.visual
    boxes = dict(zip(val.files, torch.from_numpy(val.boxes) + torch.tensor([0, 0, 1, 1])))
    supports, chances = [], []
    by_class: dict[int, list[Tensor]] = defaultdict(list)
    for batch in runner.test_dataloader:
        for sample in runner.model.test_step(batch):
            box = boxes[Path(sample.img_path).name]
            inside = centres_inside(box[None], visual)[0]
            chances.append(inside.mean())
            support, plan = sample.get(ALLOCATION_SUPPORT).cpu(), sample.get(ALLOCATION_PLAN).cpu()
            supports.append(inside[support].mean())
            mass = (plan * inside[support][:, None]).sum(0) / plan.sum(0)
            by_class[int(sample.gt_label)].append(mass)
    means = torch.stack([torch.stack(masses).mean(0) for masses in by_class.values()])
    return dict(
        support=torch.stack(supports).mean().item(),
        mass=means.mean().item(),
        most=means.max(1).values.mean().item(),
        least=means.min(1).values.mean().item(),
        chance=torch.stack(chances).mean().item(),
    )


if __name__ == '__main__':
    main()
