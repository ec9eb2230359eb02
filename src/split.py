"""Stage split: assign every sample to train, val, tune, tune_holdout or test."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.data import duplicates, samples, splits
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage
from cnnstudy.workspace.terminal import say


def main(study: str) -> None:
    """Write splits.csv, and families.csv with the images that stay together and the reasons why some are dropped."""
    import numpy as np  # after cnnstudy, whose import reports a missing environment

    params = read_params()
    table = samples.read_samples(study)
    copies = duplicates.copies(table["sha256"], np.load(paths.images(study), mmap_mode="r"))
    settings = params.studies[study]
    holdout = settings.finetune.holdout if settings.finetune else 0.0
    assigned = splits.assign(study, table, copies, settings.split, params.split_seed, holdout)
    with files.replacing(paths.splits(study)) as path:
        assigned[["id", "split"]].to_csv(path, index=False)
    with files.replacing(paths.families(study)) as path:
        assigned[["id", "copy", "family", "reason"]].to_csv(path, index=False)
    if holdout and "tune" in set(assigned["split"]) and samples.HOLDOUT not in set(assigned["split"]):
        say(f"{study}: no {samples.HOLDOUT}, since a class has only one image or group in tune")
    say(f"{study}: {', '.join(f'{count} {name}' for name, count in assigned['split'].value_counts().items())}")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
