"""What `make demo` does before the demo: an environment, or one sentence about what is missing."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mini_runs import REPO

sys.path.insert(0, str(REPO / 'tools'))

from make_environment import Environment, check_python, main, supported_python

FAKE_PYTHON = """#!{python}
import pathlib, sys
calls = pathlib.Path(__file__).with_name('calls')
said = calls.read_text() if calls.exists() else ''
calls.write_text(said + ' '.join(sys.argv[1:]) + '\\n')
if 'import cv2' in sys.argv and 'headless==4.10' not in said and {without_libgl}:
    sys.exit('ImportError: libGL.so.1: cannot open shared object file: No such file or directory')
if 'version' in sys.argv[-1]:
    print('4.10')
if {fails!r} and 'pip' in sys.argv:
    print({fails!r}, file=sys.stderr)
    sys.exit(1)
"""


@pytest.fixture
def fake(tmp_path: Path):
    """A complete environment whose python writes down what it is asked."""

    def make(fails: str = '', without_libgl: bool = False) -> SimpleNamespace:
        folder = tmp_path / 'env'
        (folder / 'bin').mkdir(parents=True)
        python = folder / 'bin' / 'python'
        text = FAKE_PYTHON.format(python=sys.executable, fails=fails, without_libgl=without_libgl)
        python.write_text(text)
        python.chmod(0o755)
        version = '.'.join(map(str, sys.version_info[:3]))
        (folder / 'pyvenv.cfg').write_text(f'version = {version}\n')
        (folder / 'standalone.done').touch()
        return SimpleNamespace(folder=folder, calls=folder / 'bin' / 'calls')

    return make


def test_the_range_of_python(monkeypatch):
    first, end = supported_python()
    for minor in range(first[1], end[1]):
        check_python((3, minor))
    classifiers = (REPO / 'setup.cfg').read_text().count('Programming Language :: Python :: 3.')
    assert classifiers == end[1] - first[1]
    for minor in (first[1] - 1, end[1]):
        wanted = rf'Python 3\.{minor}, expected 3\.{first[1]} to 3\.{end[1] - 1}: install'
        with pytest.raises(SystemExit, match=wanted):
            check_python((3, minor))
    monkeypatch.setitem(sys.modules, 'ensurepip', None)
    with pytest.raises(SystemExit, match=r'apt install python3\.\d+-venv.*dnf install'):
        check_python()


@pytest.mark.parametrize(
    ('written', 'advice'),
    [
        ('ERROR: [Errno 28] No space left on device', 'the disk is full: free 7 GB'),
        ('NewConnectionError(Failed to establish a new connection)', 'check the network'),
        ('ERROR: ResolutionImpossible', 'its message is above'),
    ],
)
def test_pip_fails(fake, capfd, written, advice):
    folder = fake(fails=written).folder
    with pytest.raises(SystemExit, match=advice):
        main([str(folder), '--done', 'standalone', '--pip', 'install torch'])
    assert written in capfd.readouterr().err
    assert not Environment(folder).is_complete()  # the next call makes it anew


def test_headless_cv2_where_libgl_is_missing(fake, capsys):
    made = fake(without_libgl=True)
    main([str(made.folder), '--done', 'standalone'])
    pip = [line for line in made.calls.read_text().splitlines() if '-m pip' in line]
    assert 'uninstall --yes opencv-python opencv-python-headless' in pip[0]
    assert pip[1].endswith('install --no-deps opencv-python-headless==4.10')
    assert 'libGL.so.1 is missing here' in capsys.readouterr().out
    assert Environment(made.folder).is_complete()


def test_build_of_torch_comes_from_an_index_of_its_own(fake, capsys):
    made = fake()
    main([str(made.folder), '--torch', 'cpu', '--done', 'test', '--pip', "install '.[test]'"])
    (pip,) = [line for line in made.calls.read_text().splitlines() if '-m pip' in line]
    assert 'install .[test] --extra-index-url' in pip and pip.endswith('/cpu')
    assert 'gave no build for TORCH=cpu' in capsys.readouterr().out  # the fake has torch 4.10
    # the other stamp is gone: what it stands for was not brought up to date
    assert [path.name for path in made.folder.glob('*.done')] == ['test.done']


def test_no_room_for_it(tmp_path, monkeypatch):
    usage = SimpleNamespace(free=1e9)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    with pytest.raises(SystemExit, match=r'needs 7 GB, and 1\.0 GB are free'):
        main([str(tmp_path / 'env'), '--done', 'standalone'])


def test_a_half_made_environment_is_made_anew(tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'env'
    (folder / 'bin').mkdir(parents=True)
    (folder / 'bin' / 'python').symlink_to('/no/such/python')
    (folder / 'left_over').touch()
    monkeypatch.setattr(Environment, 'check_cv2', lambda self: 'cv2 imports')
    main([str(folder), '--done', 'standalone', '--pip', 'list'])
    assert not (folder / 'left_over').exists()
    asked = [folder / 'bin' / 'python', '-m', 'pip', '--version']
    assert subprocess.run(asked, capture_output=True).returncode == 0
    assert 'is complete' in capsys.readouterr().out
    main([str(folder), '--done', 'standalone'])
    assert 'updating it' in capsys.readouterr().out


def test_makefile_says_that_python_is_missing(tmp_path):
    command = ['make', '-C', str(REPO), 'demo', 'PYTHON=no-python', f'VENV={tmp_path}/env']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode and 'apt install python3 python3-venv' in done.stderr
