"""Stage split: assign every sample to train, val, tune or test."""

import sys

from cnnstudy import paths
from cnnstudy.data import samples, splits
from cnnstudy.errors import run_stage
from cnnstudy.params import read_params


def main(study: str) -> None:
    """Write splits.csv."""
    params = read_params()
    shares = params.faces.split if study == "faces" else params.xray.split
    assigned = splits.assign(study, samples.read_samples(study), shares, params.split_seed)
    assigned.to_csv(paths.splits(study), index=False)
    print(f"{study}: {', '.join(f'{count} {name}' for name, count in assigned['split'].value_counts().items())}")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
