"""Stage audit: look for what makes an answer worthless, and show some samples."""

import json
import sys

import pandas as pd

from cnnstudy import paths
from cnnstudy.data import audit, baselines, samples, sheets, specifications
from cnnstudy.errors import UserError, run_stage
from cnnstudy.params import read_params


def main(study: str) -> None:
    """Write a study's audit and baselines as JSON, its class balance and contact sheets; fail where told to."""
    params = read_params()
    classes = (params.faces if study == "faces" else params.xray).classes
    dataset, table = samples.load(study, classes), samples.read_table(study)
    shown = specifications.read(paths.specifications(study))
    found = audit.audit(table, dataset.images, pd.read_csv(paths.rejects(study), dtype=str), classes)
    found["baselines"] = baselines.baselines(dataset, shown)
    paths.audit(study).parent.mkdir(parents=True, exist_ok=True)
    paths.audit(study).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    folder = paths.audit_plots(study)
    folder.mkdir(parents=True, exist_ok=True)
    counts = audit.balance(table, table, tuple(classes))
    counts.to_csv(folder / "balance.csv")
    audit.save_balance(counts, folder / "balance.png")
    sheets.save_classes(folder / "samples.png", dataset, shown)
    sheets.save_copies(folder / "copies.png", dataset, table, audit.copies_shown(table, most=10))
    for finding in found["findings"]["as it is used"] + found["not used"]:
        print(f"{study}: {finding['severity']}: {finding['kind']}: {finding['count']} images. {finding['advice']}")
    failures = audit.failures(found, params.audit.fail_on)
    if failures:
        allowed = f"nothing severe of {', '.join(params.audit.fail_on)}, or another audit.fail_on"
        raise UserError(f"{paths.audit(study)}: {'; '.join(failures)}; allowed: {allowed}")
    paths.audit_ok(study).write_text("ok\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
