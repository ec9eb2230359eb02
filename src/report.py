"""Stage report: the headline numbers, and one page with everything."""

import json

from cnnstudy import files, paths
from cnnstudy.composed import overrides
from cnnstudy.params import read_params
from cnnstudy.process import run_stage
from cnnstudy.report import page, results


def main() -> None:
    """Write metrics/summary.json and report/index.html, then log them to MLflow."""
    params = read_params()
    metrics = results.read_metrics(params)
    files.write_text(paths.SUMMARY, json.dumps(results.summary(params, metrics), indent=2) + "\n")
    files.write_text(paths.REPORT, page.render(params, metrics, overrides(params), paths.REFERENCE, paths.REQUIREMENTS))
    from cnnstudy.tracking.record import record_page

    record_page(params)


if __name__ == "__main__":
    run_stage(main)
