"""Stage audit: look for what makes an answer worthless, and show some samples."""

import json
import sys

import pandas as pd

from cnnstudy.config.params import read_params
from cnnstudy.data import audit, baselines, samples, sheets, specifications
from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage


def main(study: str) -> None:
    """Write a study's audit, baselines and hashes as JSON, its class balance and contact sheets; fail where told to."""
    params = read_params()
    classes = (params.faces if study == "faces" else params.xray).classes
    dataset, table = samples.load(study, classes), samples.read_table(study)
    shown = paths.specifications(study)
    found = audit.audit(table, dataset.images, pd.read_csv(paths.rejects(study), dtype=str), classes)
    found["baselines"] = baselines.baselines(dataset, specifications.numbers(shown))
    data = (paths.samples(study), paths.images(study), paths.splits(study))
    found["files"] = {path.name: files.md5(path) for path in data}
    files.write_text(paths.audit(study), json.dumps(found, indent=2) + "\n")

    counts = audit.balance(table, table, tuple(classes))
    with files.replacing_folder(paths.audit_plots(study)) as folder:
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
    files.write_text(paths.audit_ok(study), "ok\n")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
