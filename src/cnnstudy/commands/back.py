"""`cnnstudy back`: the workspace as the last commit has it, after `dvc exp run` or `dvc exp apply`."""

from pathlib import Path

from cnnstudy.commands import repro
from cnnstudy.commands.history import CODE
from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc, files, paths, recovery
from cnnstudy.workspace.git import git, require_repository
from cnnstudy.workspace.terminal import say

# Files in git that commands and stages write; those of `latency` and `recipes` are not part of an experiment.
WRITTEN = (
    *(paths.PARAMS, paths.LOCK, paths.ARTIFACTS, paths.ENVIRONMENT, paths.SUMMARY),
    paths.ablation_metrics("any").parent,
    paths.external_metrics("any").parent,
    paths.occlusion_metrics("any").parent,
)


def back() -> None:
    """Restore what git and DVC have of the last commit, and rebuild what is not in DVC's cache; code is not touched.

    Raises:
        UserError: there are edits of code, no commit, or another rebuild is at work here.
        SystemExit: with code 1, where a stage failed.
    """
    if not Path(".dvc").is_dir():
        raise UserError(".dvc: no such folder; run cnnstudy in the repository's root")
    require_repository()
    with repro.alone():
        put_back()
    known = set(dvc.outputs().values())  # so that only stages that HEAD has are rebuilt
    if made := [name for name in recovery.entries(recovery.read_lock()) if name in known]:
        repro.rebuild(made)


def put_back() -> None:
    """Restore what git and DVC have of the last commit.

    Raises:
        UserError: there are edits of code, or no commit.
    """
    tracked = git("ls-tree", "-r", "--name-only", "HEAD", "--", *map(str, WRITTEN)).splitlines()
    for path in map(Path, tracked):
        if path.is_file():
            path.touch()  # or git may miss an edit of the same length in the same second
    edited = [line[3:] for line in git("status", "--porcelain", "--", *CODE).splitlines()]
    if edited:
        raise UserError(f"{', '.join(edited[:3])}: edited; allowed: the last commit's, `git stash` puts edits aside")
    changed = git("status", "--porcelain", "--", *map(str, WRITTEN)).splitlines()
    kept = git("stash", "create").strip() if changed else ""
    try:
        before = dvc.outputs()
    except UserError:  # params.yaml may be invalid
        before = {}
    git("reset", "--quiet", "HEAD", "--", *map(str, WRITTEN))
    git("checkout", "--quiet", "HEAD", "--", *tracked)
    if gone := before.keys() - dvc.outputs().keys():
        known = [Path(name) for name in git("ls-files", "--", *map(str, gone)).splitlines()]
        for path in gone:
            if not any(file.is_relative_to(path) for file in known):
                files.remove(path)
    dvc.checkout()
    if changed:
        names = ", ".join(line[3:] for line in changed)
        say(f"Restored from the last commit: {names}; their previous content is in `git show {kept[:9]}`")
