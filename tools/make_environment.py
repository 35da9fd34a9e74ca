"""Make a virtual environment, or update one, and show each stage.

    python3 tools/make_environment.py .venv --done demo --pip 'install --editable .[standalone]'

The Makefile calls it. Each --pip is a command of pip. A file NAME.done in the environment says
that it is complete; one without it, which an interrupted call leaves, is made anew. Without
arguments it only checks this Python. It needs the standard library alone, and starts on Python
3.6, to say that it is too old: types that are newer stand in quotes.
"""

import argparse
import configparser
import functools
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
TORCH_INDEX = 'https://download.pytorch.org/whl/{}'
DISK_GB = {'cuda': 7, 'cpu': 2}
"""What a complete environment takes, rounded up."""

PIP_FAILURES = {
    'No space left on device': (
        'the disk is full: free {disk} GB, or take the small build of torch by TORCH=cpu'
    ),
    '[Cc]onnection|name resolution|timed out|unreachable|ProxyError|from versions: none': (
        'the package index does not answer: check the network, and proxy and index in '
        '`pip config list`'
    ),
}
"""Patterns in what pip writes to stderr, and what to do."""


def supported_python() -> 'tuple[tuple[int, int], tuple[int, int]]':
    """The lowest version of python_requires in setup.cfg, and the first one above."""
    parser = configparser.ConfigParser()
    parser.read(REPO / 'setup.cfg')
    found = re.findall(r'3\.(\d+)', parser['options']['python_requires'])
    return (3, int(found[0])), (3, int(found[1]))


def check_python(found: 'tuple[int, int]' = sys.version_info[:2]) -> None:
    """End with a sentence if this Python is out of range, or cannot make environments."""
    first, end = supported_python()
    if not first <= found < end:
        sys.exit(
            f'{sys.executable} is Python {found[0]}.{found[1]}, expected 3.{first[1]} to '
            f'3.{end[1] - 1}: install one of these, and name it: make PYTHON=python3.{end[1] - 2}'
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        name = f'python3.{found[1]}'
        sys.exit(
            f'{sys.executable} cannot make environments ({error}): `apt install {name}-venv` '
            f'(Debian, Ubuntu) or `dnf install {name}` (Fedora)'
        )


class Environment:
    """A virtual environment."""

    def __init__(self, folder: Path, torch: str = '') -> None:
        self.folder, self.torch = folder, torch
        self.python = folder / 'bin' / 'python'
        cuda = platform.system() == 'Linux' and torch != 'cpu'
        self.disk = DISK_GB['cuda' if cuda else 'cpu']

    def is_complete(self) -> bool:
        """Was it finished, and by this Python?"""
        config = self.folder / 'pyvenv.cfg'
        if not (any(self.folder.glob('*.done')) and self.python.exists() and config.is_file()):
            return False
        return 'version = {}.{}.'.format(*sys.version_info) in config.read_text()

    def create(self) -> None:
        free = shutil.disk_usage(self.folder.parent).free / 1e9
        if free < self.disk:
            sys.exit(
                f'{self.folder} needs {self.disk} GB, and {free:.1f} GB are free: free some, or '
                'take the small build of torch by TORCH=cpu'
            )
        command = [sys.executable, '-m', 'venv', '--clear', str(self.folder)]
        done = subprocess.run(command, text=True, capture_output=True)
        if done.returncode:
            sys.exit(f'{self.folder} could not be made: {(done.stdout + done.stderr).strip()}')

    def pip(self, *arguments: str) -> None:
        """Run pip, whose output is shown; end with a sentence if it fails."""
        command = [str(self.python), '-m', 'pip', '--disable-pip-version-check', *arguments]
        if self.torch and arguments[0] == 'install':
            command += ['--extra-index-url', TORCH_INDEX.format(self.torch)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            text = ''
            for line in process.stderr or ():
                sys.stderr.write(line)
                text += line
        if process.returncode:
            reasons = [what for pattern, what in PIP_FAILURES.items() if re.search(pattern, text)]
            what = [*reasons, 'its message is above'][0].format(disk=self.disk)
            sys.exit(
                f'pip could not finish: {what}. Then run the same command again: it makes '
                f'{self.folder} anew'
            )

    def run(self, code: str) -> 'subprocess.CompletedProcess[str]':
        return subprocess.run([str(self.python), '-c', code], capture_output=True, text=True)

    def version(self, name: str) -> str:
        """Of what is installed in it."""
        code = f'from importlib.metadata import version; print(version({name!r}))'
        return self.run(code).stdout.strip()

    def check_cv2(self) -> str:
        """MMCV needs cv2: where a server lacks its libraries, take the build that needs none."""
        done = self.run('import cv2')
        missing = re.search(r'(\S+\.so\S*): cannot open shared object', done.stderr)
        if missing:
            names = ['opencv-python', 'opencv-python-headless']
            version = self.version(names[0])
            say(f'{missing[1]} is missing here: {names[1]} takes the place of {names[0]}')
            self.pip('uninstall', '--yes', *names)  # both write cv2/
            self.pip('install', '--no-deps', f'{names[1]}=={version}')
            done = self.run('import cv2')
        if done.returncode:
            sys.exit(f'cv2, which MMCV needs, cannot be imported: {done.stderr.strip()}')
        return 'cv2 imports'


say = functools.partial(print, flush=True)  # the output of pip follows


def main(argv: 'list[str] | None' = None) -> None:
    check_python()
    if not (sys.argv[1:] if argv is None else argv):
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='of the environment')
    parser.add_argument('--done', nargs='+', required=True, metavar='NAME', help='what it is for')
    parser.add_argument('--pip', action='append', default=[], help='a command of pip')
    text = "build of torch on PyTorch's own index: cpu, cu126, ..."
    parser.add_argument('--torch', default='', help=text)
    args = parser.parse_args(argv)
    environment = Environment(args.folder, args.torch)
    stages = len(args.pip) + 2
    start = time.time()
    say(f'[1/{stages}] {args.folder}: Python {platform.python_version()}')
    if environment.is_complete():
        say('updating it')
    else:
        say(f'making it anew: up to {environment.disk} GB on disk')
        environment.create()
    for stamp in args.folder.glob('*.done'):
        stamp.unlink()  # until all is done
    for number, command in enumerate(args.pip, 2):
        say(f'[{number}/{stages}] pip {command}')
        environment.pip(*shlex.split(command))
    say(f'[{stages}/{stages}] checking')
    torch = f'torch {environment.version("torch")}'
    if args.torch and not torch.endswith(f'+{args.torch}'):
        torch += f": PyTorch's index gave no build for TORCH={args.torch}"
    say(f'{torch}; {environment.check_cv2()}')
    for name in args.done:
        (args.folder / f'{name}.done').touch()
    size = sum(path.lstat().st_size for path in args.folder.rglob('*')) / 1e9
    say(f'{args.folder} is complete: {size:.1f} GB, {time.time() - start:.0f} s')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('interrupted: the next run makes the environment anew')
