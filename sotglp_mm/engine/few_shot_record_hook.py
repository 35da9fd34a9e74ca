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

    ``FewShotDataset(files=...)`` takes the file, so that another run, or another program, can
    learn from the same images. Training sets that are not few-shot are left alone. Where a run
    resumes with other images, the earlier file is kept as ``few_shot_files.epoch_<number>.json``.
    """

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Write, and log the path and the hash of the images."""
        few_shot = few_shot_set(runner.train_dataloader.dataset)
        if few_shot is None:
            return
        record = few_shot.few_shot_record()
        path = Path(runner.work_dir) / FILE_NAME
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


def few_shot_set(dataset: Any) -> Any:
    """The few-shot set in a dataset: itself, wrapped, or what cached features were made from."""
    while dataset is not None and not hasattr(dataset, 'few_shot_record'):
        dataset = getattr(dataset, 'dataset', getattr(dataset, 'source', None))
    return dataset
