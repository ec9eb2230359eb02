"""Git commands of this project."""

import subprocess
from pathlib import Path

from cnnstudy.errors import UserError


def git(*arguments: str) -> str:
    """Return what git prints.

    Raises:
        UserError: with git's words, where it fails.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise UserError(f"git {arguments[0]}: {said}; allowed: a repository with such a commit")
    return done.stdout.decode("utf-8", "replace")


def require_repository() -> None:
    """Refuse a folder of no git repository, or of one that git does not read, in which nothing could be recorded.

    Raises:
        UserError: with the command that helps.
    """
    if problem := repository_problem():
        raise UserError(problem)


def repository_problem() -> str:
    """Return why git has no commit of this folder, with the command that helps; '' where it has one."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    here = Path.cwd()
    if "dubious ownership" in done.stderr:
        return f"{here}: of another user; `git config --global --add safe.directory '{here}'` lets git read it"
    if "not a git repository" in done.stderr:
        found = "no git repository, as after a download without git's history"
        return f"{here}: {found}; `git init && git add --all && git commit --message=start` makes one"
    return f"{here}: a git repository without a commit; `git add --all && git commit --message=start` makes one"
