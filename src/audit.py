"""Stage audit: look for what makes an answer worthless, and show some samples."""

import json
import sys

import pandas as pd

from cnnstudy import paths
from cnnstudy.data import audit, baselines, samples, sheets, specifications
from cnnstudy.errors import run_stage
from cnnstudy.params import read_params


def main(study: str) -> None:
    """Write a study's audit and baselines as JSON, its class balance and a contact sheet."""
    order = (read_params().faces if study == "faces" else read_params().xray).classes
    dataset, table = samples.load(study, order), samples.read_samples(study)
    splits, rejects = pd.read_csv(paths.splits(study)), pd.read_csv(paths.rejects(study), dtype=str)
    shown = specifications.read(paths.specifications(study))
    found = audit.audit(table, splits, rejects, tuple(order))  # a class without images is a finding too
    found["baselines"] = baselines.baselines(dataset, shown)
    folder = paths.audit_plots(study)
    folder.mkdir(parents=True, exist_ok=True)
    paths.audit(study).parent.mkdir(parents=True, exist_ok=True)
    paths.audit(study).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    counts = audit.balance(table, splits, tuple(order))
    counts.to_csv(folder / "balance.csv")
    audit.save_balance(counts, folder / "balance.png")
    ids = sheets.class_samples(dataset, columns=8)
    pictures = [[dataset.images[i] for i in row] for row in ids]
    captions = [[specifications.in_words(shown[i]) for i in row] for row in ids] if shown else ()
    sheets.save_sheet(folder / "samples.png", pictures, dataset.classes, captions=captions)
    for finding in found["findings"]:
        print(f"{study}: {finding['severity']}: {finding['kind']}: {finding['count']}. {finding['advice']}")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
