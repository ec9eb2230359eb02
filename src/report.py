"""Stage report: write the headline numbers, and one page with all results."""

import json

from cnnstudy.config.compose import overrides
from cnnstudy.config.params import read_params
from cnnstudy.evaluation import results
from cnnstudy.report import page
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage


def main() -> None:
    """Write metrics/summary.json and report/index.html, then log them to MLflow."""
    params = read_params()
    metrics = results.read_metrics(params)
    files.write_text(paths.SUMMARY, json.dumps(results.summary(params, metrics), indent=2) + "\n")
    files.write_text(paths.REPORT, page.render(params, metrics, overrides(params), paths.REFERENCE, paths.REQUIREMENTS))
    from cnnstudy.tracking.write import record_page

    record_page(params)


if __name__ == "__main__":
    run_stage(main)
