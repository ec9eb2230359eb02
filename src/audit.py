"""Stage audit: find properties of the data that invalidate results, and show some samples."""

import json
import sys
from functools import partial

from cnnstudy.config.params import read_params
from cnnstudy.data import familiarity, samples, sheets, specifications
from cnnstudy.data.audit import baselines, findings
from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage
from cnnstudy.workspace.terminal import say


def main(study: str) -> None:
    """Write a study's audit, baselines and hashes as JSON, its class balance, contact sheets and familiarity model.

    Raises:
        UserError: the audit has findings of a kind in audit.fail_on.
    """
    import pandas as pd  # after cnnstudy, whose import reports a missing environment

    params = read_params()
    settings = params.studies[study]
    classes, generator = settings.classes, specifications.generator_of(settings)
    dataset, table = samples.load(study, classes), samples.read_table(study)
    file = paths.specifications(study)
    rejects = pd.read_csv(paths.rejects(study), dtype=str)
    ranges = {name: (low, high) for name, (low, high) in settings.values.items()}
    # Every synthetic image shows a different person.
    audit = findings.audit(table, dataset.images, rejects, classes, generator is not None, ranges)
    audit["baselines"] = baselines.baselines(dataset, specifications.numbers(file, generator) if generator else None)
    familiar = familiarity.fit(dataset)
    with files.replacing(paths.familiarity(study)) as aside:
        familiarity.write(familiar, aside)
    audit["unlike_training_images"] = familiarity.shares(familiar, dataset)
    data = (paths.samples(study), paths.images(study), paths.splits(study))
    audit["files"] = {path.name: files.md5(path) for path in data}
    files.write_text(paths.audit(study), json.dumps(audit, indent=2) + "\n")

    counts = findings.balance(table, table, tuple(classes))
    with files.replacing_folder(paths.audit_plots(study)) as folder:
        counts.to_csv(folder / "balance.csv")
        findings.save_balance(counts, folder / "balance.png")
        captions = partial(specifications.captions, file, generator) if generator else None
        sheets.save_classes(folder / "samples.png", dataset, captions)
        sheets.save_copies(folder / "copies.png", dataset, table, findings.copies_shown(table, most=10))
    amiss = [each for each in (*audit["findings"]["used"], *audit["not_used"]) if each["severity"] != "info"]
    for finding in amiss:
        say(f"{study}: {finding['severity']}: {finding['kind']}: {finding['count']} images. {finding['advice']}")
    if not amiss:
        say(f"{study}: nothing amiss was found")
    failures = findings.failures(audit, params.audit.fail_on)
    if failures:
        allowed = f"no severe finding of {', '.join(params.audit.fail_on)}, or another audit.fail_on"
        raise UserError(f"{paths.audit(study)}: {'; '.join(failures)}; allowed: {allowed}")
    files.write_text(paths.audit_ok(study), "ok\n")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
