"""What setup.cfg cannot say: the wheel carries configs, tools and model-index.yml for MIM.

`mim train sotglp_mm CONFIG` looks for them in ``sotglp_mm/.mim``. A wheel gets copies; an editable
install gets links, for code that looks beside the package (MIM itself looks in site-packages).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
CARRIED = ('configs', 'tools', 'model-index.yml')
LEFT_OUT = ('__pycache__', '*.pyc', 'benchmarks', 'studies', 'make_environment.py', 'gpu_check.py')
"""Of these, what only a checkout uses."""


class BuildWithMIM(build_py):
    """Build the package, and lay what MIM looks for in its ``.mim`` folder."""

    def run(self) -> None:
        """Build."""
        super().run()
        if self.editable_mode:
            link_for_mim(HERE / 'sotglp_mm' / '.mim')
        else:
            copy_for_mim(Path(self.build_lib) / 'sotglp_mm' / '.mim')


def copy_for_mim(target: Path) -> None:
    """Copy afresh: build/ outlives a build, and a config may have been removed since."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in CARRIED:
        source = HERE / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copy2(source, target / name)


def link_for_mim(target: Path) -> None:
    """Link into the checkout; where links are not allowed (Windows), go without."""
    target.mkdir(exist_ok=True)
    for name in CARRIED:
        link = target / name
        try:
            if not link.is_symlink():
                link.symlink_to(Path('..') / '..' / name, target_is_directory=name != CARRIED[-1])
        except OSError as error:
            print(f'setup.py: {link} could not be made ({error}); use {HERE / name} instead')


setup(cmdclass={'build_py': BuildWithMIM})
