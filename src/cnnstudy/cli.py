"""`cnnstudy`: what is not a stage."""

import argparse
from pathlib import Path

from cnnstudy.workspace.stage import reported_errors


def main() -> None:
    """Parse the command line and do what it says; a user's mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="cnnstudy", description="Rebuild a published CNN study with DVC and MLflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("params", help="compose params.yaml from conf/, and check it")
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of `dvc exp run -S`: model=mobilenet")
    command.set_defaults(action=lambda arguments: write_params(arguments.overrides))
    command = commands.add_parser("check", help="check params.yaml, and mend what a killed `dvc` left torn")
    command.set_defaults(action=lambda arguments: check())
    command = commands.add_parser("repro", help="`dvc repro`, several stages at once")
    command.add_argument("targets", nargs="*", metavar="STAGE", help="as of `dvc repro`; all if none is given")
    command.add_argument("-j", "--jobs", type=int, help="as many as cores and memory allow if not given")
    command.set_defaults(action=lambda arguments: rebuild(arguments.targets, arguments.jobs))
    command = commands.add_parser("search", help="look for better hyperparameters of a run, with Optuna")
    command.add_argument("run", metavar="RUN", help="a key of runs in params.yaml")
    command.add_argument("--trials", type=int, required=True, help="in all, those of earlier calls included")
    command.add_argument("--space", type=Path, help="what is tried; conf/search/<study>.yaml if not given")
    command.add_argument("--seed", type=int, default=0, help="of the choices, not of the trainings; 0 if not given")
    command.add_argument("--storage", help="the address of a database; optuna.db in the root if not given")
    command.set_defaults(action=search)
    command = commands.add_parser("promote", help="register a run's net in MLflow as the champion of its study")
    command.add_argument("run", metavar="RUN", help="a key of runs in params.yaml")
    _add_training(command)
    command.set_defaults(action=promote)
    command = commands.add_parser("predict", help="what a net says of pictures")
    command.add_argument("paths", nargs="+", type=_path, metavar="PATH", help="a picture, or a folder of them")
    nets = command.add_mutually_exclusive_group(required=True)
    nets.add_argument("--run", metavar="RUN", help="the net of a run: a key of runs in params.yaml")
    nets.add_argument("--champion", choices=("faces", "xray"), help="the net that was promoted last in a study")
    _add_training(command)
    precisions = ("float32", "float16", "int8")
    command.add_argument("--litert", choices=precisions, help="the run's net for phones, of the stage export")
    command.add_argument("--top", type=int, default=3, help="how many classes are shown, the likeliest; 3 if not given")
    command.add_argument("--json", action="store_true", help="a line of JSON for each picture")
    command.set_defaults(action=predict)
    command = commands.add_parser("compare", help="what differs between two commits, pictures included")
    command.add_argument("a", metavar="A", help="a branch, tag, commit or experiment")
    command.add_argument("b", metavar="B", nargs="?", help="the same; the working tree if not given")
    command.set_defaults(action=lambda arguments: compare(arguments.a, arguments.b))
    command = commands.add_parser("latency", help="time the nets for phones on this machine, for the page and MLflow")
    command.set_defaults(action=lambda arguments: latency())
    command = commands.add_parser("recipes", help="compare the best recipe with the report's on the same images")
    command.add_argument("runs", metavar="RUN", nargs="+", help="of one study; keys of runs in params.yaml")
    command.add_argument("--seeds", type=int, default=3, help="how many; 3 if not given")
    command.set_defaults(action=lambda arguments: recipes(arguments.runs, arguments.seeds))
    command = commands.add_parser("doctor", help="what stands between this machine and the result")
    command.set_defaults(action=lambda arguments: doctor())
    command = commands.add_parser("track", help="record in MLflow what DVC holds and MLflow does not")
    command.set_defaults(action=lambda arguments: track())
    command = commands.add_parser("ui", help="record, then serve the MLflow UI on this machine")
    command.add_argument("--port", type=int, default=5000, help="5000 if not given")
    command.set_defaults(action=lambda arguments: ui(arguments.port))
    command = commands.add_parser("app", help="try a net in the browser, on this machine; `make app` has what it needs")
    command.add_argument("--port", type=int, default=7860, help="7860 if not given")
    command.set_defaults(action=lambda arguments: app(arguments.port))
    arguments = parser.parse_args()
    with reported_errors():
        arguments.action(arguments)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("'' found; allowed: a picture, or a folder of them")
    return Path(text)


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--phase", choices=("base", "tuned"), help="of the run; its last one if not given")
    command.add_argument("--seed", type=int, help="of the run; the first one if not given")


def write_params(overrides: list[str]) -> None:
    """Compose conf/ into params.yaml, as `dvc exp run` does; where a value is not allowed, that stays as it was.

    Raises:
        UserError: conf/ has no such group, choice or key, or a value is not allowed.
    """
    from cnnstudy.config.compose import compose
    from cnnstudy.data.sources import check_formats
    from cnnstudy.workspace import files, paths

    with files.replacing(paths.PARAMS) as aside:
        check_formats(compose(aside, overrides, paths.PARAMS))


def check() -> None:
    """Check params.yaml, and mend DVC's own files; see `cnnstudy.commands.repro`."""
    from cnnstudy.commands import repro

    repro.check()


def rebuild(targets: list[str], jobs: int | None = None) -> None:
    """Check, then bring stages up to date; see `cnnstudy.commands.repro`."""
    from cnnstudy.commands import repro

    repro.rebuild(targets, jobs)


def search(arguments: argparse.Namespace) -> None:
    """Bring a run's data up to date, make the trials that are missing, and print the best and how to apply it.

    Raises:
        UserError: a wrong argument, space or parameter, or a database that can't be opened.
        SystemExit: with code 1, where a stage failed.
    """
    from cnnstudy.config.params import read_params
    from cnnstudy.search import start

    job = start.checked(read_params(), arguments)
    rebuild([f"augment@{job.params.runs[job.run].study}"])
    start.search(job, arguments.trials)


def promote(arguments: argparse.Namespace) -> None:
    """Register a run's net as the champion of its study, and say so.

    Raises:
        UserError: a wrong argument, a net that may not be promoted, or a store that refuses.
    """
    from cnnstudy.config.params import read_params
    from cnnstudy.serving import choice, promote

    params = read_params()
    print(promote.promote(params, choice.choose(params, arguments.run, arguments.phase, arguments.seed)))


def predict(arguments: argparse.Namespace) -> None:
    """Print what a net says of pictures.

    Raises:
        UserError: a wrong argument, a net that is not there, or no picture that can be read.
    """
    from cnnstudy.serving.predict import predict

    predict(arguments)


def compare(a: str, b: str | None) -> None:
    """Print what differs between two commits, and draw it.

    Raises:
        UserError: there is no such commit.
    """
    from cnnstudy.commands.compare import compare
    from cnnstudy.config.params import read_params

    read_params()
    compare(a, b)


def latency() -> None:
    """Time every net for phones on one thread, write metrics/export/latency.json, and print it.

    Raises:
        UserError: params.yaml holds a value that is not allowed, or a net is not exported.
    """
    from cnnstudy.config.params import read_params
    from cnnstudy.export.latency import write_latency
    from cnnstudy.export.litert import PRECISIONS
    from cnnstudy.workspace import paths

    for run, its in write_latency(read_params())["runs"].items():
        for each in PRECISIONS:
            print(f"{run} {each}: {its[each]['median_ms']:.2f} ms, 95 % within {its[each]['p95_ms']:.2f} ms")
    print(f"{paths.LATENCY} is written; `dvc repro report` shows it")


def recipes(runs: list[str], seeds: int) -> None:
    """Compare recipes; see `cnnstudy.commands.recipes`."""
    from cnnstudy.commands.recipes import compare_recipes

    compare_recipes(runs, seeds)


def doctor() -> None:
    """Print what is right and what to do; see `cnnstudy.commands.doctor`."""
    from cnnstudy.commands.doctor import doctor

    doctor()


def track() -> None:
    """Record in MLflow what DVC holds; see `cnnstudy.commands.ui`."""
    from cnnstudy.commands.ui import track

    track()


def ui(port: int) -> None:
    """Record, then serve MLflow's UI; see `cnnstudy.commands.ui`."""
    from cnnstudy.commands.ui import serve

    serve(port)


def app(port: int) -> None:
    """Serve a page that shows what the trained nets say about a picture.

    Raises:
        UserError: Gradio is not installed, no run is trained, or the port is taken.
    """
    from cnnstudy.app.page import serve
    from cnnstudy.commands.ui import require_free
    from cnnstudy.config.params import read_params

    require_free(port)

    serve(read_params(), port)
