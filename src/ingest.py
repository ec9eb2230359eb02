"""Stage ingest: read a source's images into samples.csv and images.npy."""

import logging
import sys

from cnnstudy.config.params import read_params
from cnnstudy.data import ingest, samples
from cnnstudy.data.sources import synthetic
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage
from cnnstudy.workspace.terminal import say


def main(study: str) -> None:
    """Write the images of a study or an external test set, its samples, specifications and table of rejected files."""
    params = read_params()
    if study in params.external:
        params = params.of_external(study)
    _print_log(study)
    found = ingest.find(params, study)
    size = params.studies[study].image_size
    tables = ingest.write(found, params.studies[study].source.format, size, paths.images(study))
    taken = samples.numbered(tables.samples, params.studies[study].classes)
    for table, target in ((taken, paths.samples(study)), (tables.rejects, paths.rejects(study))):
        with files.replacing(target) as path:
            table.to_csv(path, index=False)
    with files.replacing(paths.specifications(study)) as path:
        synthetic.write_specifications(params, study, tables.samples["path"], path)
    say(f"{study}: {len(found.candidates)} found, {len(tables.samples)} taken, {len(tables.rejects)} rejected")
    for note, count in sorted(tables.notes.items()):
        say(f"{study}: {count} images: {note}")
    for line in ingest.describe(found, tables.rejects, params.owner(study)):
        say(f"{study}: {line}")


def _print_log(study: str) -> None:
    """Print the library's log messages on how it reads a source."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(f"{study}: %(message)s"))
    logger = logging.getLogger("cnnstudy")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
