"""Stage check: refuse bad parameters before any output is touched."""

from cnnstudy import files, paths
from cnnstudy.params import read_params, require_sources
from cnnstudy.process import run_stage


def main() -> None:
    """Check params.yaml, and that its sources are there; the output never changes, so a good edit reruns nothing."""
    require_sources(read_params())
    files.write_text(paths.CHECK_OK, "params.yaml is valid\n")


if __name__ == "__main__":
    run_stage(main)
