"""The command lines of training and testing, with MMPretrain's flags."""

import argparse
import os

from mmengine.config import DictAction

from .test import test
from .train import train

NO_CHECKPOINT = 'none'


def checkpoint_path(text: str) -> str | None:
    """The argument CHECKPOINT; the word 'none' is for a config that learns nothing."""
    return None if text == NO_CHECKPOINT else text


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of training and testing, named as MMPretrain names them."""
    parser.add_argument(
        '--work-dir',
        help='folder of logs and checkpoints; by default work_dir of the config, or '
        'work_dirs/<name of the config>',
    )
    parser.add_argument('--data', help='folder or file of the data; by default $DATA')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. model.head.num_local_prompts=6; lists as '
        'key="[a,b]" or key=a,b',
    )
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin the memory of the data loaders'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes are started; see tools/dist_train.sh',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def parse(parser: argparse.ArgumentParser) -> dict:
    """The arguments; torch's older launcher says the local rank by a flag."""
    add_common_arguments(parser)
    args = vars(parser.parse_args())
    os.environ.setdefault('LOCAL_RANK', str(args.pop('local_rank')))
    return args


def train_main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from CHECKPOINT, or from the latest one in the work dir',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate on the way')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the total batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start the data workers anew in every epoch',
    )
    train(**parse(parser))


def test_main() -> None:
    """Test."""
    parser = argparse.ArgumentParser(description='Test (and evaluate) a model')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        'checkpoint',
        type=checkpoint_path,
        help='path of the checkpoint; none: the model as the config starts it, e.g. zero-shot',
    )
    parser.add_argument('--out', help='file for the results')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out keeps: metrics (.json, .yaml, .pkl) or, by default, predictions (.pkl)',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--interval', type=int, default=1, help='draw every so many images')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds to show each')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: the config's tta_pipeline and tta_model, or else the mean "
        'over the image and its mirror image',
    )
    test(**parse(parser))
