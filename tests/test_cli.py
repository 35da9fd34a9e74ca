"""The command ``sotglp``: help at once, errors in a sentence, the tools as further names."""

import subprocess
import sys

import pytest
from mini_runs import REPO

import sotglp_cli
from sotglp_cli import COMMANDS, main

TOOLS = {
    path.stem: path
    for path in (REPO / 'tools').glob('*.py')
    if 'from sotglp_cli import main' in path.read_text()
}
CONFIG = str(REPO / 'configs' / 'sotglp_demo_16shot.py')


def help_of(*command: str) -> str:
    """What a process of its own prints, having imported nothing heavy."""
    code = (
        'import sys, sotglp_cli\ntry: sotglp_cli.main()\n'
        'except SystemExit as e: assert e.code == 0\n'
        'assert not {"torch", "mmengine", "numpy", "sotglp_mm"} & set(sys.modules)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, *command, '--help'], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_lists_the_commands():
    assert {'train', 'test'} < set(TOOLS)
    text = help_of()
    assert all(f'\n  {name} ' in text for name in COMMANDS)


@pytest.mark.parametrize('name', COMMANDS)
def test_help_of_each_command_shows_its_flags(name: str):
    text = help_of(name)
    parser = sotglp_cli.Parser()
    COMMANDS[name].add_arguments(parser)
    flags = [flag for action in parser._actions for flag in action.option_strings]
    assert len(flags) > 2
    assert all(flag in text for flag in flags)
    assert COMMANDS[name].summary in text
    assert f'  sotglp {name} ' in text or name == 'demo'


@pytest.mark.parametrize('tool', TOOLS.values(), ids=TOOLS)
def test_a_tool_is_a_command(tool):
    done = subprocess.run([sys.executable, tool, '--help'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ['usage:', 'sotglp']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['trian'], "no command 'trian'; did you mean 'train'?"),
        (['train'], 'required: CONFIG'),
        (['train', CONFIG, '--cfg-options', 'seed'], "expected KEY=VALUE, got 'seed'"),
        (['extract', CONFIG, '--out', 'x', '--views', '0'], "at least 1, got '0'"),
        (['predict', CONFIG, 'none', 'x', '--num-workers=-1'], "at least 0, got '-1'"),
    ],
)
def test_wrong_command_lines(capsys, arguments: list[str], message: str):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['no_such.py'], 'no_such.py'),
        (
            [CONFIG, '--cfg-options', 'model.head.tau=-1'],
            "SOTGLPHead has no setting 'tau'; did you mean",
        ),
    ],
)
def test_errors_of_users_end_in_a_sentence(capsys, arguments, message):
    assert main(['test', *arguments[:1], 'none', *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith('sotglp test: error: ')
    assert message in error
    assert 'Traceback' not in error


def test_debug_shows_the_traceback():
    with pytest.raises(FileNotFoundError, match='no_such'):
        main(['test', 'no_such.py', 'none', '--debug'])


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setitem(
        COMMANDS, 'demo', COMMANDS['demo']._replace(function='json:loads', is_incomplete=bool)
    )
    with pytest.raises(TypeError, match='loads'):
        main(['demo'])
