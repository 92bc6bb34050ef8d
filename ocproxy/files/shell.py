"""Where the agent's shell stands: what relative paths are relative to, when it left the session's folder."""

from __future__ import annotations

import msgspec

from ocproxy.agents.base import Action, News
from ocproxy.files.diff import is_absolute, resolve
from ocproxy.model import Certainty

_WORKED_OUT = "relative to a folder that was worked out from a cd"


class Shell:
    """The shell of one session, which begins in the session's folder `workdir`."""

    def __init__(self) -> None:
        self._folder: str | None = None  # where it stands, when that is not `workdir`
        self._certainty: Certainty = "exact"

    def hear(self, news: News, workdir: str) -> None:
        """Take what is told of its folder."""
        if news.folder is not None:
            folder = resolve(news.folder, self._folder or workdir)
            self._folder = None if folder == resolve("", workdir) else folder
            self._certainty = news.certainty

    def located(self, action: Action, workdir: str) -> Action:
        """The action with a path that does not depend on where the shell stands."""
        if not action.follows_shell or (self._folder is None and self._certainty == "exact"):
            return action
        paths = {
            name: resolve(path, self._folder or workdir)
            for name in ("path", "destination")
            if (path := getattr(action, name)) is not None and not is_absolute(path)
        }
        if paths and self._certainty == "inferred":
            return msgspec.structs.replace(action, **paths, certainty="inferred", doubt=action.doubt or _WORKED_OUT)
        return msgspec.structs.replace(action, **paths)
