"""Stage check: refuse bad parameters before any output is touched."""

from cnnstudy import paths
from cnnstudy.errors import run_stage
from cnnstudy.params import read_params


def main() -> None:
    """Check the whole of params.yaml; the output never changes, so a good edit reruns nothing."""
    read_params()
    paths.CHECK_OK.parent.mkdir(parents=True, exist_ok=True)
    paths.CHECK_OK.write_text("params.yaml is valid\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
