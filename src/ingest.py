"""Stage ingest: turn a source into samples.csv and images.npy."""

import sys
from typing import cast

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import StudyName
from cnnstudy.data import ingest, samples
from cnnstudy.data.sources import drawn
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import run_stage


def main(name: str) -> None:
    """Write a study's images, its samples, what drawn ones show, and the files that were not taken."""
    params, study = read_params(), cast(StudyName, name)
    found = ingest.find(params, study)
    size = params.study(study).image_size
    tables = ingest.write(found, params.source(study).format, size, paths.images(study))
    taken = samples.numbered(tables.samples, params.study(study).classes)
    for table, target in ((taken, paths.samples(study)), (tables.rejects, paths.rejects(study))):
        with files.replacing(target) as path:
            table.to_csv(path, index=False)
    with files.replacing(paths.specifications(study)) as path:
        drawn.write_specifications(params, study, tables.samples["path"], path)
    print(f"{study}: {len(found.candidates)} found, {len(tables.samples)} taken, {len(tables.rejects)} rejected")
    for note, count in sorted(tables.notes.items()):
        print(f"{study}: {count} images: {note}")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
