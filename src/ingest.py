"""Stage ingest: turn a source into samples.csv and images.npy."""

import sys
from typing import cast

from cnnstudy import paths
from cnnstudy.data import ingest
from cnnstudy.data.sources import drawn
from cnnstudy.errors import run_stage
from cnnstudy.params import StudyName, read_params


def main(name: str) -> None:
    """Write a study's images, its samples, what drawn ones show, and the files that were not taken."""
    params, study = read_params(), cast(StudyName, name)
    found = ingest.find(params, study)
    size = params.study(study).image_size
    tables = ingest.write(found, params.source(study).format, size, paths.images(study))
    tables.samples.to_csv(paths.samples(study), index=False)
    tables.rejects.to_csv(paths.rejects(study), index=False)
    drawn.write_specifications(params, study, tables.samples["path"], paths.specifications(study))
    print(f"{study}: {len(found.candidates)} found, {len(tables.samples)} taken, {len(tables.rejects)} rejected")
    for note, count in sorted(tables.notes.items()):
        print(f"{study}: {count} images: {note}")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
