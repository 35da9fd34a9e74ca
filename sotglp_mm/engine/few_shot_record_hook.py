"""Which images did this run learn from?"""

import json
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..io.files import write_atomically
from ..utils.settings import checked_settings

FILE_NAME = 'few_shot_files.json'


@HOOKS.register_module()
@checked_settings
class FewShotRecordHook(Hook):
    """Writes the images of the few-shot training set to ``<work_dir>/few_shot_files.json``.

    ``FewShotDataset(files=...)`` takes the file. Of several sets in a ``ConcatDataset``, the
    second has ``few_shot_files_2.json``, and so on. Where a run resumes with other images, the
    earlier file is kept as ``few_shot_files.epoch_<number>.json``.
    """

    @master_only
    def before_train(self, runner: Runner) -> None:
        sets = few_shot_sets(runner.train_dataloader.dataset)
        for number, few_shot in enumerate(sets, start=1):
            path = Path(runner.work_dir) / FILE_NAME
            if number > 1:
                path = path.with_stem(f'{path.stem}_{number}')
            _write_record(runner, few_shot.few_shot_record(), path)


def few_shot_sets(dataset: Any) -> list[Any]:
    """The few-shot sets in a dataset: itself, wrapped, or what stored features were made from."""
    if hasattr(dataset, 'few_shot_record'):
        return [dataset]
    inner = getattr(dataset, 'dataset', getattr(dataset, 'source', None))
    inside = getattr(dataset, 'datasets', [] if inner is None else [inner])
    return [few_shot for each in inside for few_shot in few_shot_sets(each)]


def _write_record(runner: Runner, record: dict, path: Path) -> None:
    text = json.dumps(record, indent=1)
    if runner.iter and path.is_file() and path.read_text(encoding='utf-8') != text:
        earlier = path.rename(path.with_suffix(f'.epoch_{runner.epoch}.json'))
        runner.logger.warning(
            f'Up to epoch {runner.epoch} this run learned from other few-shot images; their '
            f'list is kept as {earlier}'
        )
    write_atomically(path, text)
    runner.logger.info(
        f'Few-shot set: {len(record["images"])} images, sha256 {record["sha256"]}, '
        f'written to {path}'
    )
