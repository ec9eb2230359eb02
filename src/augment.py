"""Stage augment: list every training image with the operation on it, and draw some."""

import sys

import pandas as pd

from cnnstudy import paths
from cnnstudy.data import plans, samples, sheets
from cnnstudy.errors import run_stage
from cnnstudy.params import read_params


def main(name: str) -> None:
    """Write a plan's rows, and a contact sheet of what it makes."""
    params = read_params()
    plan = params.plans[name]
    rows = plans.make(plan, pd.read_csv(paths.splits(plan.study)))
    paths.plan(name).parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(paths.plan(name), index=False)
    dataset = samples.load(plan.study, params.study(plan.study).classes)
    sheets.save_sheet(paths.plan_figure(name), *sheets.plan_rows(dataset, plan, draws=5))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
