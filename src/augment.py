"""Stage augment: write a table of the training images with their augmentation, and show some of them."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.data import augment, samples, sheets
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage


def main(study: str) -> None:
    """Write the augmentation table and a contact sheet for each policy of a study."""
    import pandas as pd  # after cnnstudy, whose import reports a missing environment

    params = read_params()
    splits = pd.read_csv(paths.splits(study))
    dataset = samples.load(study, params.studies[study].classes)
    with files.replacing_folder(paths.policies(study)) as folder:
        for name, policy in params.studies[study].policies.items():
            augment.make(policy, splits).to_csv(folder / f"{name}.csv", index=False)
    with files.replacing_folder(paths.policy_figures(study)) as folder:
        for name, policy in params.studies[study].policies.items():
            sheets.save_sheet(folder / f"{name}.png", *sheets.policy_rows(dataset, policy, draws=5))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
