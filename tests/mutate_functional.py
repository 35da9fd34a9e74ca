"""Change `sotglp_mm/functional/`, a little at a time, and see whether its tests notice.

    python tests/mutate_functional.py                 # all mutants; two processes at a time
    python tests/mutate_functional.py --sample 20     # some of them

A mutant is one file with one change: another operator, number or word, an argument left out, a
statement or decorator gone. Its tests run in a fork of this process, which has imported all.
Exit status 0 only if 90 % of the mutants are killed, and each survivor is explained in
`tests/data/surviving_mutants.json`.
"""

import argparse
import ast
import copy
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ot  # noqa: F401  so that no fork has to import it
import pytest
import scipy.optimize  # noqa: F401
import torch
from hypothesis import Phase, settings
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))

from mini_runs import REPO

import sotglp_mm

ROOM = REPO / 'sotglp_mm' / 'functional'
TESTS = REPO / 'tests' / 'test_functional'
EXPLAINED = REPO / 'tests' / 'data' / 'surviving_mutants.json'
MORE_TESTS = {
    'sinkhorn': ['test_sinkhorn_properties'],
    'capped_transport': ['test_sinkhorn_properties'],
    'patch_support': ['test_selection_properties'],
}
"""Beside test_<module>.py."""

SECONDS = 90
"""A mutant that runs longer than this is noticed by whoever waits for it."""

GOAL = 0.9
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.LShift: ast.RShift,
    ast.BitXor: ast.BitOr,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


HEADED = (ast.FunctionDef, ast.For, ast.While, ast.If, ast.With, ast.ClassDef)
NOTHING = ast.parse("__import__('contextlib').nullcontext()", mode='eval').body


class Mutant(NamedTuple):
    """A module with one change."""

    module: str
    line: int
    change: str
    """What stood there, and what stands there now; unique within a module."""

    tree: ast.Module


def mutants_of(file: Path) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    source = file.read_text()
    tree = ast.parse(source)
    found: dict[str, Mutant] = {}
    for number, node in enumerate(ast.walk(tree)):
        for variant in range(len(list(_changes(copy.deepcopy(node))))):
            mutated = copy.deepcopy(tree)
            target = next(n for at, n in enumerate(ast.walk(mutated)) if at == number)
            before = ast.unparse(_statement(tree, node))
            list(_changes(target))[variant]()
            after = ast.unparse(_statement(mutated, target))
            change = f'{before} -> {after}'
            if before != after and change not in found:
                ast.fix_missing_locations(mutated)
                found[change] = Mutant(file.stem, node.lineno, change, mutated)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _statement(tree: ast.Module, node: ast.AST) -> ast.AST:
    """The smallest piece around a node that reads by itself: a statement, or a header."""
    best = node
    for each in ast.walk(tree):
        if isinstance(each, (ast.stmt, ast.arguments)) and node in ast.walk(each):
            if isinstance(each, HEADED):
                header = copy.copy(each)
                header.body, best = [ast.Pass()], header
                if hasattr(header, 'orelse'):
                    header.orelse = []
            else:
                best = each
    return best


def _changes(node: ast.AST) -> Iterator:
    """Functions, each of which changes the node in place."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield lambda: node.ops.__setitem__(0, COMPARISONS[type(node.ops[0])]())
    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in OPERATORS:
        yield lambda: setattr(node, 'op', OPERATORS[type(node.op)]())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield lambda: setattr(node, 'op', ast.UAdd())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda: setattr(node, 'operand', ast.UnaryOp(ast.Not(), node.operand))
    if isinstance(node, ast.Constant):
        yield from _constants(node)
    if isinstance(node, ast.Call):
        for place in range(len(node.keywords)):
            yield lambda place=place: node.keywords.pop(place)
    if isinstance(node, ast.IfExp):
        yield lambda: setattr(node, 'test', ast.Constant(True))
        yield lambda: setattr(node, 'test', ast.Constant(False))
    if isinstance(node, (ast.If, ast.While)):
        yield lambda: setattr(node, 'test', ast.Constant(False))
    if isinstance(node, ast.FunctionDef):
        for place in range(len(node.decorator_list)):
            yield lambda place=place: node.decorator_list.pop(place)
    if isinstance(node, ast.With):
        yield lambda: setattr(node, 'items', [ast.withitem(NOTHING)])
    if isinstance(node, ast.Return) and node.value is not None:
        yield lambda: setattr(node, 'value', ast.Constant(None))
    if isinstance(node, (ast.Assign, ast.Expr)) and not _is_text(node):
        yield lambda: _blank(node)


def _constants(node: ast.Constant) -> Iterator:
    value = node.value
    if isinstance(value, bool):
        yield lambda: setattr(node, 'value', not value)
    elif isinstance(value, (int, float)):
        yield lambda: setattr(node, 'value', value + 1)
    elif isinstance(value, str) and value and ' ' not in value:
        yield lambda: setattr(node, 'value', f'{value}x')


def _is_text(node: ast.AST) -> bool:
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _blank(node: ast.AST) -> None:
    """A statement that does nothing, of whatever kind it was."""
    node.__class__ = ast.Pass
    node._fields = ()


def install(mutant: Mutant) -> None:
    """Let everything that is imported use the mutant."""
    module = importlib.import_module(f'sotglp_mm.functional.{mutant.module}')
    before = dict(vars(module))
    for name in before:
        if not name.startswith('__'):
            delattr(module, name)
    code = compile(mutant.tree, module.__file__, 'exec')
    exec(code, vars(module))
    for name, other in list(sys.modules.items()):
        if name.startswith(sotglp_mm.__name__):
            for key, value in list(vars(other).items()):
                if key in before and value is before[key] and key in vars(module):
                    setattr(other, key, vars(module)[key])


def start(mutant: Mutant | None, module: str) -> int:
    """Fork; its exit status is 0 if no test fails."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1), os.dup2(silent, 2)
        if mutant:
            install(mutant)
        files = [TESTS / f'{name}.py' for name in [f'test_{module}', *MORE_TESTS.get(module, [])]]
        flags = ['-x', '-q', '-p', 'no:cacheprovider', '--hypothesis-profile=mutants']
        status = int(pytest.main([*map(str, files), *flags]))
    finally:
        os._exit(status)


def killed(mutants: list[Mutant], processes: int) -> list[bool]:
    """For each mutant, whether its tests fail or do not end; several at a time."""
    verdicts: dict[int, bool] = {}
    endless = 0
    running: dict[int, tuple[int, float]] = {}
    waiting = list(enumerate(mutants))
    bar = tqdm(total=len(mutants), unit='mutant')
    while waiting or running:
        while waiting and len(running) < processes:
            number, mutant = waiting.pop(0)
            running[start(mutant, mutant.module)] = number, time.monotonic()
        for pid, (number, since) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() - since > SECONDS:
                os.kill(pid, 9)
                ended, status = os.waitpid(pid, 0)
                endless += 1
            if ended:
                verdicts[number] = status != 0
                del running[pid]
                if not verdicts[number]:
                    mutant = mutants[number]
                    bar.write(f'alive: {mutant.module}.py:{mutant.line}: {mutant.change}')
                bar.update()
        time.sleep(0.02)
    bar.close()
    print(f'{endless} ran longer than {SECONDS} s, and count as killed')
    return [verdicts[number] for number in range(len(mutants))]


def check_unchanged(modules: set[str]) -> None:
    """Without a change, the tests must pass; else every mutant would count as killed."""
    for module in sorted(modules):
        _, status = os.waitpid(start(None, module), 0)
        if status:
            sys.exit(f'the tests of {module} fail without any change')


def report(mutants: list[Mutant], verdicts: list[bool], complete: bool) -> int:
    """Print figures and survivors; the exit status."""
    explained = {(each['module'], each['change']) for each in json.loads(EXPLAINED.read_text())}
    survivors = [mutant for mutant, dead in zip(mutants, verdicts) if not dead]
    for module in dict.fromkeys(mutant.module for mutant in mutants):
        mine = [dead for mutant, dead in zip(mutants, verdicts) if mutant.module == module]
        print(f'{module}: {sum(mine)} of {len(mine)} mutants killed')
    new = [mutant for mutant in survivors if (mutant.module, mutant.change) not in explained]
    for mutant in new:
        print(f'SURVIVED {mutant.module}.py:{mutant.line}: {mutant.change}')
    stale = explained - {(mutant.module, mutant.change) for mutant in survivors}
    for module, change in sorted(stale) if complete else ():
        print(f'EXPLAINED, BUT KILLED OR GONE {module}: {change}')
    share = sum(verdicts) / len(verdicts)
    print(
        f'{sum(verdicts)} of {len(verdicts)} mutants killed ({100 * share:.1f} %), '
        f'{len(survivors) - len(new)} survivors explained, {len(new)} not'
    )
    return int(share < GOAL or bool(new) or (complete and bool(stale)))


def all_mutants() -> list[Mutant]:
    """Of every module of the room."""
    files = [file for file in sorted(ROOM.glob('*.py')) if file.name != '__init__.py']
    return [mutant for file in files for mutant in mutants_of(file)]


def main() -> None:
    """Mutate and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sample', type=int, help='so many mutants, drawn at random')
    parser.add_argument('--seed', type=int, default=0, help='of the sample')
    parser.add_argument('--module', help='of one file, e.g. sinkhorn')
    parser.add_argument('--processes', type=int, default=2, help='at a time')
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings.register_profile(
        'mutants', max_examples=40, deadline=None, derandomize=True, phases=[Phase.generate]
    )
    mutants = [m for m in all_mutants() if args.module in (None, m.module)]
    complete = args.sample is None and args.module is None
    if args.sample is not None:
        mutants = random.Random(args.seed).sample(mutants, args.sample)
    began = time.monotonic()
    check_unchanged({mutant.module for mutant in mutants})
    status = report(mutants, killed(mutants, args.processes), complete)
    print(f'in {time.monotonic() - began:.0f} s')
    sys.exit(status)


if __name__ == '__main__':
    main()
