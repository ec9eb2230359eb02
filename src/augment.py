"""Stage augment: list every training image with the operation on it, and draw some."""

import sys

import pandas as pd

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import StudyName
from cnnstudy.data import plans, samples, sheets
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage


def main(study: StudyName) -> None:
    """Write the rows of a study's plans, and a contact sheet of what each makes."""
    params = read_params()
    splits = pd.read_csv(paths.splits(study))
    dataset = samples.load(study, params.study(study).classes)
    with files.replacing_folder(paths.plans(study)) as folder:
        for name, plan in params.plans[study].items():
            plans.make(plan, splits).to_csv(folder / f"{name}.csv", index=False)
    with files.replacing_folder(paths.plan_figures(study)) as folder:
        for name, plan in params.plans[study].items():
            sheets.save_sheet(folder / f"{name}.png", *sheets.plan_rows(dataset, plan, draws=5))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
