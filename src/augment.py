"""Stage augment: list every training image with the operation on it, and draw some."""

import sys

import pandas as pd

from cnnstudy import files, paths
from cnnstudy.data import plans, samples, sheets
from cnnstudy.params import read_params
from cnnstudy.process import run_stage


def main(name: str) -> None:
    """Write a plan's rows, and a contact sheet of what it makes."""
    params = read_params()
    plan = params.plans[name]
    rows = plans.make(plan, pd.read_csv(paths.splits(plan.study)))
    with files.replacing(paths.plan(name)) as path:
        rows.to_csv(path, index=False)
    dataset = samples.load(plan.study, params.study(plan.study).classes)
    with files.replacing(paths.plan_figure(name)) as path:
        sheets.save_sheet(path, *sheets.plan_rows(dataset, plan, draws=5))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
