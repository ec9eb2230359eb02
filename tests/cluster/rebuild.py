"""Rebuild a repository whose params.yaml has no studies, as `cnnstudy repro --cluster ADDRESS` does."""

import sys

from cnnstudy.cluster.coordinator import Options
from cnnstudy.commands.repro import run_stages
from cnnstudy.workspace import dvc
from cnnstudy.workspace.stage import reported_errors


class Printed:
    """Prints what stages print."""

    def hear(self, name: str, text: str) -> None:
        print(f"{name}: {text}", flush=True)

    def add_jobs(self, count: int) -> None:
        self.hear("cluster", f"takes {count}")

    def start(self, name: str) -> None:
        self.hear(name, "starts")

    def finish(self, name: str) -> None:
        self.hear(name, "has ended")

    def fail(self, name: str) -> None:
        self.hear(name, "has failed")

    def end(self) -> None:
        print("end", flush=True)


def main(address: str, *flags: str) -> None:
    remote = next((flag.partition("=")[2] for flag in flags if flag.startswith("--remote=")), "")
    failures = run_stages(dvc.plan([]), 1, Printed(), [0], Options(address, remote, "--same-hardware" in flags))
    if failures:
        print(f"error: {failures[0]}")
        raise SystemExit(1)


if __name__ == "__main__":
    with reported_errors():
        main(*sys.argv[1:])
