"""The dashboard as a Jupyter widget: a feed on a comm, and a table to read where there is no kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import anywidget
import traitlets

from ipyjobs.schema import JobRecord
from ipyjobs.widget.snapshot import as_html, as_text

_STATIC = Path(__file__).parent / "static"


class Feed(Protocol):
    """What the widget needs of `ipyjobs.feed.Feed`."""

    comm_subshell: bool
    """Whether clicks are handled while a cell runs."""

    def receive(self, message: object) -> None:
        """Take a message of the page; callable from any thread."""
        ...

    def records(self) -> Sequence[JobRecord]:
        """The jobs as they are now, in order of submission; callable from any thread."""
        ...

    def close(self) -> None:
        """Send nothing more."""
        ...


class FeedClass(Protocol):
    """How a feed is made."""

    def __call__(
        self, engine: Any, send: Callable[[dict[str, Any]], None], *, focus: Collection[str] | None = None
    ) -> Feed:
        """`send` takes messages that are plain JSON already, from the engine's thread."""
        ...


class Dashboard(anywidget.AnyWidget):
    """Jobs of an engine, live. What is shown is never part of the widget's state, so it is not saved as such.

    Parameters
    ----------
    engine
        Whose jobs to show.
    focus
        Ids of the jobs to show; None for all, also those that are yet to come.
    job_id
        The one job to show, without the table.
    feed_class
        Another feed than `ipyjobs.feed.Feed`, in tests.
    """

    # Without these two, anywidget takes class attributes only, which would be read when this is imported.
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    job_id = traitlets.Unicode("", read_only=True).tag(sync=True)
    """The one job to show; empty for all."""

    def __init__(
        self,
        engine: Any,
        *,
        focus: Collection[str] | None = None,
        job_id: str | None = None,
        feed_class: FeedClass | None = None,
    ) -> None:
        self._feed: Feed | None = None
        if job_id:
            self.set_trait("job_id", job_id)
        super().__init__(_esm=_built("board.js"), _css=_built("board.css"))
        self._feed = (feed_class or _feed_class())(engine, self._send_message, focus=[job_id] if job_id else focus)
        self._feed.comm_subshell = _keep_subshell(self.comm)
        self._untyped.on_msg(self._received)

    def close(self) -> None:
        """Take the widget off all pages and stop sending."""
        if self._feed is not None:
            self._feed.close()
        super().close()

    @property
    def _untyped(self) -> Any:
        return self  # ipywidgets has no annotations

    def _send_message(self, message: dict[str, Any]) -> None:
        self._untyped.send(message)

    def _received(self, _widget: object, content: object, _buffers: object) -> None:
        if self._feed is not None:
            self._feed.receive(content)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        base: Any = super()
        data: dict[str, Any]
        metadata: dict[str, Any]
        data, metadata = base._repr_mimebundle_(**kwargs)
        jobs = () if self._feed is None else self._feed.records()
        return {**data, "text/html": as_html(jobs), "text/plain": as_text(jobs)}, metadata


class JobCard(Dashboard):
    """One job, live: its status and what is known of it, without the table."""

    def __init__(self, engine: Any, job_id: str, *, feed_class: FeedClass | None = None) -> None:
        super().__init__(engine, job_id=job_id, feed_class=feed_class)


def _feed_class() -> FeedClass:
    from ipyjobs.feed import Feed  # the engine's half; a page under test has another

    return Feed


@cache
def _built(name: str) -> str:
    """The text of a built file.

    Raises
    ------
    FileNotFoundError
        The front end was not built.
    """
    path = _STATIC / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build the dashboard with `npm ci && npm run build` in js/")
    return path.read_text(encoding="utf-8")


def _keep_subshell(comm: Any) -> bool:
    """Let clicks be handled on the subshell that the page sends them to; say whether they are.

    ipykernel 7.4.0 routes a comm's messages to the shell that published on it last, the main one, so that a click
    waits for the running cell. Its private method is replaced by one that keeps what the page asked for. Versions
    7.0 to 7.3 do so unasked; 6 has no subshells. To be removed when ipykernel routes by request again.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default  # pyright: ignore[reportUnknownLambdaType]
    kernel = getattr(comm, "kernel", None)
    return bool(getattr(kernel, "_supports_kernel_subshells", False))
