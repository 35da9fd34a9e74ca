"""Store what the frozen image tower says of a config's images, and a config that trains from it.

    python tools/extract_features.py configs/sotglp_vitb16_16shot_dtd.py --out features/dtd
    python tools/train.py features/dtd/config.py

Killed, it goes on where it was when it is run again; what is stored is checked then, and repaired.
"""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from ..features.derived_config import CONFIG, derived_configs
from ..features.files import bytes_missing, bytes_unreserved, write_text
from ..features.format import create_arrays
from ..features.manifest import build_model, make_manifest, settle_manifest, splits_of
from ..features.writer import forget_damaged, write_features


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', type=Path, help='path of the uncached config')
    parser.add_argument('--out', type=Path, required=True, help='folder of the cache')
    parser.add_argument(
        '--views', type=_positive, default=10, help='augmented views of a training image'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the augmentation')
    parser.add_argument('--batch-size', type=_positive, default=64, help='of the image tower')
    parser.add_argument(
        '--workers', type=int, default=min(4, os.cpu_count() or 1), help='loading images'
    )
    parser.add_argument('--device', default='auto', help="'auto', 'cpu', 'cuda:1', ...")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config; they go into the derived config too',
    )
    args = parser.parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    args.command = shlex.join(['python', 'tools/extract_features.py', *given])
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {number}')
    return number


def load_config(args: argparse.Namespace) -> Config:
    """The config as a run would have it."""
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    return cfg


def check_stored(out: Path, splits: dict) -> None:
    """Compare everything that is stored with its checksum; what differs is made anew."""
    for name, about in splits.items():
        if (out / name / 'done.npy').exists():
            damaged = forget_damaged(out / name, about)
            if damaged:
                print(
                    f'{out / name}: {damaged} stored images and views were not as they had been '
                    'written (damaged, or of another cache); they are made again'
                )


def check_room(out: Path, missing: int, unreserved: int) -> None:
    """Stop before the disk is full.

    Args:
        out: Folder of the cache.
        missing: Bytes still to be written.
        unreserved: Bytes that the arrays do not hold yet; killed, an extraction holds its own.

    Raises:
        OSError: It has not the room.
    """
    free = shutil.disk_usage(out).free
    print(f'to write: {missing / 1e9:.2f} GB; free in {out}: {free / 1e9:.2f} GB')
    # the smaller: on a disk that compresses, written features hold less than their size
    needed = min(missing, unreserved)
    if needed > free:
        raise OSError(
            f'{out} has {free / 1e9:.2f} GB of free space and the features need '
            f'{needed / 1e9:.2f} GB; make room, take another disk, or remove {out} and take fewer '
            '--views'
        )


def write_configs(args: argparse.Namespace, splits: dict) -> None:
    """Beside the manifest; what is there already is left alone."""
    for name, text in derived_configs(args.config, args.cfg_options, args.out, splits).items():
        file = args.out / name
        if not file.exists():
            write_text(file, text)
        elif file.read_text(encoding='utf-8') != text:
            print(f'{file} is left as it is, though it would be written otherwise now')


def main(arguments: list[str] | None = None) -> None:
    """Extract, or go on extracting."""
    args = parse_args(arguments)
    cfg = load_config(args)
    model = build_model(cfg, get_device() if args.device == 'auto' else args.device)
    manifest, datasets, samples = make_manifest(cfg, model['backbone'], args)
    settle_manifest(args.out, manifest, samples)
    write_configs(args, splits_of(cfg))
    splits = manifest['splits']
    check_stored(args.out, splits)
    missing = bytes_missing(args.out, splits)
    if missing:
        check_room(args.out, missing, bytes_unreserved(args.out, splits))
    for name, about in splits.items():  # all of them first: a full disk stops it before the work
        create_arrays(args.out / name, about)
    for name, about in splits.items():
        if missing:
            folder = args.out / name
            write_features(model, datasets[name], folder, about, args.batch_size, args.workers)
    done = 'complete' if missing else 'complete already, nothing was done'
    print(f'{args.out} is {done}. Train: python tools/train.py {args.out / CONFIG}')


if __name__ == '__main__':
    main()
