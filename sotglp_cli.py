"""The command ``sotglp``: ``sotglp train CONFIG``, ``sotglp --help``.

A module of its own, beside the package: importing ``sotglp_mm`` takes seconds, so that waits until
the command line is known to be right.

Exit status: 0, all done; 1, not all done, as the output says; 2, nothing done because of an error.
"""

import argparse
import difflib
import functools
import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Parser = argparse.ArgumentParser


def main(arguments: list[str] | None = None) -> int:
    """Run one command, by default with the arguments of this process; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name = _command_name(arguments)
    command = COMMANDS[name]
    args = vars(_parser(name, command).parse_intermixed_args(arguments[1:]))  # files after flags
    debug = args.pop('debug')
    for stream in (sys.stdout, sys.stderr):  # a file name need not be valid text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    try:
        return _run(command, args)
    except KeyboardInterrupt:
        print(f'sotglp {name}: stopped', file=sys.stderr)
        return 130
    except Exception as error:
        if debug or not _is_explained(error):
            raise
        print(f'sotglp {name}: error: {error}', file=sys.stderr)
        return 2


def _run(command: 'Command', args: dict[str, Any]) -> int:
    """Import and call what the command stands for; flags are its keyword arguments."""
    module, _, function = command.function.partition(':')
    importlib.import_module('sotglp_mm.apis.strict').strict_loading()
    if 'local_rank' in args:  # torch's older launcher says by a flag what newer ones say so
        os.environ.setdefault('LOCAL_RANK', str(args.pop('local_rank')))
    if args.get('checkpoint') == 'none':
        args['checkpoint'] = None
    if 'config' in args:
        parse_options = importlib.import_module('sotglp_mm.apis.config').parse_options
        args['cfg_options'] = parse_options(args['cfg_options'] or ())
    result = getattr(importlib.import_module(module), function)(**args)
    return int(command.is_incomplete(result))


def _is_explained(error: BaseException) -> bool:
    """Whether its text is meant for users: of a file that cannot be used, or raised by us."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError | TypeError | RuntimeError | ImportError):
        return False
    cause: BaseException | None = error
    while cause is not None:
        frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
        if frames and frames[-1].f_globals['__name__'].startswith('sotglp_mm'):
            return True
        cause = cause.__cause__ or cause.__context__  # MMEngine raises parts' errors again
    return False


def _command_name(arguments: list[str]) -> str:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:<{width}}  {command.summary}' for name, command in COMMANDS.items()]
    parser = Parser(
        'sotglp',
        description='Train and use SOT-GLP: local and global prompts for CLIP.',
        epilog='\n'.join(['commands:', *lines, '', 'sotglp COMMAND --help says more.']),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='store_true', help='show the version')
    parser.add_argument('command', nargs='?', metavar='COMMAND', help='one of those below')
    args = parser.parse_args(arguments[:1])
    if args.version:
        from importlib.metadata import version

        parser.exit(message=f'sotglp_mm {version("sotglp_mm")}\n')
    if args.command is None:
        parser.print_help()
        parser.exit(2)
    if args.command not in COMMANDS:
        near = difflib.get_close_matches(args.command, COMMANDS, n=1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        parser.error(f'no command {args.command!r}; {hint}there are {", ".join(COMMANDS)}')
    return args.command


def _parser(name: str, command: 'Command') -> Parser:
    examples = '\n'.join(f'  {line}' for line in command.examples.splitlines())
    parser = Parser(
        f'sotglp {name}',
        description=f'{command.summary}.',
        epilog=f'examples:\n{examples}\n\n{command.notes}'.rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    parser.add_argument('--debug', action='store_true', help='show where in the code errors arise')
    return parser


def natural(text: str, least: int = 0) -> int:
    """Type of an argument: a number of at least 0."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f'expected a number of at least {least}, got {text!r}')
    return int(text)


positive = functools.partial(natural, least=1)


def key_value(text: str) -> str:
    """Type of an argument: ``KEY=VALUE``."""
    if not text.partition('=')[1]:
        raise argparse.ArgumentTypeError(f'expected KEY=VALUE, got {text!r}')
    return text


CFG_OPTIONS: dict[str, Any] = dict(nargs='+', action='extend', type=key_value, metavar='KEY=VALUE')


def _add_config(parser: Parser) -> Callable:
    add = parser.add_argument
    add('config', metavar='CONFIG', help='path of the config')
    add(
        '--cfg-options',
        **CFG_OPTIONS,
        help='override settings of the config, e.g. model.head.num_local_prompts=6 '
        'model.clip.pretrained=/path/to/ViT-B-16.pt; lists as key="[a,b]" or key=a,b',
    )
    add('--data', metavar='FOLDER', help='your own images, for configs of your own images')
    return add


def _add_model(parser: Parser) -> Callable:
    add = _add_config(parser)
    text = 'path of the checkpoint; none: the model as the config starts it, e.g. zero-shot'
    add('checkpoint', metavar='CHECKPOINT', help=text)
    return add


def _add_device(parser: Parser) -> None:
    text = 'cpu, cuda, cuda:1, ...; default: the GPU, if there is one'
    parser.add_argument('--device', help=text)


def _add_batches(parser: Parser) -> None:
    add = parser.add_argument
    add('--batch-size', type=positive, default=32, help='images at a time (default 32)')
    add('--num-workers', type=natural, default=2, help='processes that read images (default 2)')
    _add_device(parser)


def _add_run(parser: Parser) -> argparse._MutuallyExclusiveGroup:
    add = parser.add_argument
    add('--work-dir', help="of logs and checkpoints; default: the config's, or work_dirs/<name>")
    precision = parser.add_mutually_exclusive_group()
    text = 'mixed precision: float16 on a GPU, bfloat16 on a CPU'
    precision.add_argument('--amp', action='store_true', help=text)
    add('--no-pin-memory', action='store_true', help='do not pin the memory of the data loaders')
    launchers = ['none', 'pytorch', 'slurm', 'mpi']
    text = 'how several processes are started; see tools/dist_train.sh'
    add('--launcher', choices=launchers, default='none', help=text)
    add('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    return precision


def _add_train(parser: Parser) -> None:
    add = _add_config(parser)
    text = 'go on from CHECKPOINT, or from the latest intact one in the work dir'
    add('--resume', nargs='?', const='auto', metavar='CHECKPOINT', help=text)
    add('--no-validate', action='store_true', help='do not evaluate during training')
    text = 'scale the learning rate by the total batch size over auto_scale_lr.base_batch_size'
    add('--auto-scale-lr', action='store_true', help=text)
    text = 'start new data workers in every epoch'
    add('--no-persistent-workers', action='store_true', help=text)
    text = 'precision to train in; auto: the fastest here, which a resumed run keeps'
    choices = ['auto', 'float32', 'bfloat16', 'float16']
    _add_run(parser).add_argument('--precision', choices=choices, help=text)


def _add_test(parser: Parser) -> None:
    add = _add_model(parser)
    add('--out', metavar='FILE', help='file for the results')
    text = 'what --out keeps: metrics (.json, .yaml, .pkl) or, by default, predictions (.pkl)'
    add('--out-item', choices=['metrics', 'pred'], help=text)
    add('--show-dir', metavar='FOLDER', help='folder for pictures of the predictions')
    add('--show', action='store_true', help='show the predictions in a window')
    add('--interval', type=positive, default=1, help='draw every so many images (default 1)')
    add('--wait-time', type=float, default=2, help='seconds to show each (default 2)')
    text = "average over the config's tta_pipeline, or over the image and its mirror image"
    add('--tta', action='store_true', help=text)
    _add_run(parser)


def _add_predict(parser: Parser) -> None:
    add = _add_model(parser)
    add('paths', nargs='+', metavar='PATH', help='image, folder (with all below it) or glob')
    add('--out', type=Path, metavar='FILE', help='.json or .csv file for the results')
    _add_batches(parser)
    add('--topk', type=positive, default=5, help='classes to name for each image (default 5)')
    add(
        '--ood',
        metavar='SCORE',
        help='OOD score, e.g. mcm (default: gl_mcm where the head has local prompts, else mcm); '
        'its temperature is model.head.ood_tau',
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        '--calibrate',
        nargs='+',
        metavar='PATH',
        help='images of known classes (not those trained on): the threshold accepts 95 %% of them',
    )
    known.add_argument('--threshold', type=float, help='of the OOD score; known if at most this')


def _add_calibrate(parser: Parser) -> None:
    add = _add_config(parser)
    add('checkpoint', metavar='CHECKPOINT', help='path of the checkpoint; it is written anew')
    _add_batches(parser)
    add('--ood', metavar='SCORE', help='OOD score, as in sotglp predict')


def _add_extract(parser: Parser) -> None:
    add = _add_config(parser)
    add('--out', type=Path, required=True, metavar='FOLDER', help='folder of the features')
    add('--views', type=positive, default=10, help='augmented views of a training image (10)')
    add('--seed', type=int, default=0, help='of the augmentation (default 0)')
    add('--batch-size', type=positive, default=64, help='of the image tower (default 64)')
    workers = min(4, os.cpu_count() or 1)
    add('--workers', type=natural, default=workers, help='that read images (%(default)s)')
    add('--device', default='auto', help='cpu, cuda:1, ...; default: the GPU, if there is one')


def _add_export(parser: Parser) -> None:
    add = _add_model(parser)
    add('out', type=Path, metavar='OUT', help='the file, .onnx, or .pt2 for torch-export')
    add(
        '--format',
        choices=['onnx', 'torch-export'],
        default='onnx',
        help='for ONNX Runtime and others, or for torch.export.load (default %(default)s)',
    )


def _add_show(parser: Parser) -> None:
    add = _add_model(parser)
    add('paths', nargs='*', metavar='PATH', help='image, folder (with all below it) or glob')
    add('--out-dir', default='plan_pictures', help='folder of the pictures (%(default)s)')
    text = 'classes whose plans are drawn; default: the predicted one, and the true one if known'
    add('--class', dest='classes', nargs='+', metavar='NAME', help=text)
    add('--dataset', choices=['train', 'val', 'test'], help="images of the config's dataset")
    add('--indices', type=natural, nargs='+', default=[0], help='which of them (default 0)')


def _add_app(parser: Parser) -> None:
    add = _add_model(parser)
    add('--host', default='127.0.0.1', help='address to listen at (%(default)s: this machine)')
    add('--port', type=natural, default=7860, help='default: %(default)s; 0: a free one')
    add('--topk', type=positive, default=5, help='classes to show (default 5)')
    _add_device(parser)


def _add_data(parser: Parser) -> None:
    add = parser.add_argument
    text = 'folder of all data, $DATA of the configs; or, with --own, of yours'
    add('data_root', type=Path, help=text)
    add('--own', action='store_true', help='DATA_ROOT is your own images: a folder or .csv file')
    add('--sets', nargs='+', metavar='NAME', help='e.g. dtd eurosat; default: all known sets')
    add('--no-decode', action='store_true', help='do not decode the images, only look for them')
    add('--no-duplicates', action='store_true', help='do not look for identical images')
    add(
        '--expected',
        type=Path,
        metavar='FILE.json',
        help='for subsets: {NAME: {"num_classes": C, "counts": {SPLIT: IMAGES}}}, instead of the '
        'numbers of the published sets',
    )
    add('--json', type=Path, metavar='FILE', help='write all that was found, for programs')
    text = 'check nothing; fetch the images of this set, where torchvision hosts them'
    add('--download', metavar='NAME', help=text)


def _add_campaign(parser: Parser) -> None:
    add = parser.add_argument
    add('--datasets', nargs='+', metavar='NAME', help='default: the 11 few-shot sets')
    add('--shots', nargs='+', type=positive, default=[1, 2, 4, 8, 16], help='default: 1 2 4 8 16')
    add('--seeds', nargs='+', type=int, default=[1, 2, 3], help='default: 1 2 3')
    add(
        '--configs',
        metavar='PATTERN',
        help="path of a job's config, with {dataset}, {shots} and {seed} where it has them; "
        "imagenet's may lack the _{dataset}. Default: the ViT-B/16 configs",
    )
    add('--work-dir', type=Path, default=Path('work_dirs/benchmark'), help='default: %(default)s')
    add('--launcher', choices=['none', 'pytorch'], default='none', help='of each job')
    text = "processes of a job, with --launcher pytorch; they share the config's batch"
    add('--nproc', type=positive, default=1, help=text)
    add('--cfg-options', **CFG_OPTIONS, help='for every job')
    text = 'store image features there, if they are not yet, and train and test from them'
    add('--features', type=Path, metavar='FOLDER', help=text)
    baselines = ['tip_adapter', 'gaussian_discriminant', 'linear_probe']
    text = 'a baseline of image embeddings in the place of training, seconds for each job'
    add('--method', choices=baselines, help=text)
    text = 'train on the first half of the classes, and test on each half alone'
    add('--base-to-new', action='store_true', help=text)
    text = 'other datasets to test on as well'
    add('--transfer', nargs='+', metavar='NAME', default=[], help=text)
    text = 'all jobs in this process, of which a crash ends all. Default: with --features'
    add('--in-process', action=argparse.BooleanOptionalAction, help=text)
    add('--print-jobs', action='store_true', help='run nothing; print a command for each open job')


def _add_summary(parser: Parser) -> None:
    add = parser.add_argument
    text = '--work-dir of the campaign; of several, to see them side by side'
    add('work_dir', type=Path, nargs='+', help=text)
    text = 'folder of the files; default: WORK_DIR. Needed with several'
    add('--out', type=Path, metavar='FOLDER', help=text)
    text = 'of the first table, the figure and the comparison; default: %(default)s'
    add('--metric', default='accuracy/top1', help=text)


def _add_demo(parser: Parser) -> None:
    add = parser.add_argument
    add('--work-dir', type=Path, default=Path('work_dirs/demo'), help='default: %(default)s')
    add('--epochs', type=positive, help='shorter or longer training than the configs ask for')
    text = 'photographs of EuroSAT, found below $DATA (./data) or fetched by torchvision, 90 MB'
    add('--real', action='store_true', help=text)


class Command(NamedTuple):
    """One of the commands."""

    summary: str  # its line in ``sotglp --help``
    function: str  # ``module:function``, whose keyword arguments are named as the flags
    add_arguments: Callable[[Parser], None]
    examples: str
    notes: str = ''
    # whether what the function returned means exit status 1
    is_incomplete: Callable[[Any], bool] = lambda result: False


COMMANDS = {
    'train': Command(
        'Train a model',
        'sotglp_mm.apis:train',
        _add_train,
        'sotglp train configs/sotglp_vitb16_16shot_dtd.py\n'
        'sotglp train configs/sotglp_vitb16_16shot_own.py --data my_images --resume',
        'Killed, it goes on from the last intact checkpoint with --resume.',
    ),
    'test': Command(
        'Test a checkpoint',
        'sotglp_mm.apis:test',
        _add_test,
        'sotglp test CONFIG work_dirs/run/epoch_50.pth --out metrics.json --out-item metrics',
    ),
    'predict': Command(
        'Predict your own images: label, probability, how out of place they are',
        'sotglp_mm.apis:predict',
        _add_predict,
        "sotglp predict CONFIG CHECKPOINT photo.jpg folder 'holiday/**/*.png'\n"
        'sotglp predict CONFIG CHECKPOINT folder --out predictions.csv\n'
        'sotglp predict CONFIG CHECKPOINT folder --calibrate validation_images',
        'Class names come from the checkpoint, so no dataset has to be on disk. The OOD score is\n'
        'lower for images that look like the known classes; with --calibrate or --threshold each\n'
        'image is called known or unknown. Exit status 1: some images could not be read.',
        lambda report: bool(report['failed']),
    ),
    'calibrate': Command(
        'Calibrate a checkpoint on validation images: probabilities, and known or unknown',
        'sotglp_mm.apis:calibrate',
        _add_calibrate,
        'sotglp calibrate CONFIG CHECKPOINT\nsotglp calibrate CONFIG CHECKPOINT --data my_images',
        "The images are the split 'val' of the training data. One temperature is fitted, and the\n"
        'threshold of the OOD score accepts 95 % of them. Both are kept in the checkpoint, and\n'
        'sotglp predict uses them.',
    ),
    'extract': Command(
        'Store the frozen image features of a config, and write a config that trains from them',
        'sotglp_mm.apis:extract',
        _add_extract,
        'sotglp extract configs/sotglp_vitb16_16shot_dtd.py --out features/dtd\n'
        'sotglp train features/dtd/config.py',
        'Killed, it goes on when it is run again; what is stored is checked then, and repaired.',
    ),
    'export': Command(
        'Write a trained model to one file for deployment, which needs none of this program',
        'sotglp_mm.apis:export',
        _add_export,
        'sotglp export CONFIG CHECKPOINT classifier.onnx\n'
        'sotglp export CONFIG CHECKPOINT classifier.pt2 --format torch-export',
        'Images in, class probabilities of the branches and OOD scores out, any batch size. The\n'
        'file is compared with the model on images of the test set before it gets its name.',
    ),
    'show': Command(
        'Draw how a trained model divides the patches of images among its prompts',
        'sotglp_mm.apis:show',
        _add_show,
        "sotglp show CONFIG CHECKPOINT photo.jpg photos/ 'more/*.png'\n"
        'sotglp show CONFIG CHECKPOINT --dataset test --indices 0 5 9',
        'Exit status 1: some images could not be read.',
        bool,
    ),
    'app': Command(
        'Serve a page to try a trained model in the browser',
        'sotglp_mm.apis:app',
        _add_app,
        'sotglp app CONFIG CHECKPOINT\nsotglp app CONFIG CHECKPOINT --port 8080',
        'Needs Gradio: pip install "sotglp_mm[app]". Nothing leaves this machine.',
    ),
    'data': Command(
        'Check that datasets are complete and readable, or download one',
        'sotglp_mm.apis:check_data',
        _add_data,
        'sotglp data /datasets\n'
        'sotglp data /datasets --sets dtd eurosat --no-duplicates\n'
        'sotglp data /datasets --download dtd\n'
        'sotglp data my_images --own',
        'Every set is ok, absent, incomplete (something is missing) or damaged (something is\n'
        'there, but is not what it should be). Duplicate images are notes: published sets have\n'
        'some. Exit status 1: a set is not ok.',
        lambda all_ok: not all_ok,
    ),
    'campaign': Command(
        'Train and test on many datasets, numbers of shots and seeds',
        'sotglp_mm.campaign:run_campaign',
        _add_campaign,
        'sotglp campaign --datasets dtd eurosat --shots 1 16 --seeds 1 2 3\n'
        'sotglp campaign --datasets dtd --features work_dirs/features\n'
        'sotglp campaign --method tip_adapter --work-dir work_dirs/tip_adapter\n'
        'sotglp campaign --base-to-new --shots 16 --work-dir work_dirs/base_to_new\n'
        'sotglp campaign --datasets imagenet --shots 16 --transfer dtd eurosat\n'
        'sotglp campaign --print-jobs > jobs.txt',
        'Each job has the folder WORK_DIR/<dataset>/<shots>shot/seed<seed>. Stopped or killed,\n'
        'it goes on when it is run again. Several calls may share a work dir: each job is run\n'
        'once. Exit status 1: a job failed.',
        bool,
    ),
    'summary': Command(
        'Write tables and a figure of what a campaign has done so far',
        'sotglp_mm.campaign:summarize',
        _add_summary,
        'sotglp summary work_dirs/benchmark\n'
        'sotglp summary work_dirs/coop work_dirs/sotglp --out work_dirs/methods',
        'Writes summary.md, summary.csv, summary.json and accuracy_vs_shots.png; of several,\n'
        'side_by_side.md and side_by_side.png.',
    ),
    'demo': Command(
        'Run the demo: zero-shot CLIP beside SOT-GLP, without a download, in minutes on a CPU',
        'sotglp_mm.demo:run_demo',
        _add_demo,
        'sotglp demo\nDATA=/datasets sotglp demo --real',
        'Prints a table and writes it to WORK_DIR/summary.json.',
    ),
}

if __name__ == '__main__':
    sys.exit(main())
