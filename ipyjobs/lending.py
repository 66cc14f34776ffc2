"""What an engine can be told and asked about the cluster that its Dask jobs run on."""

from __future__ import annotations

from typing import Any

from ipyjobs.backends.dask import DaskBackend
from ipyjobs.cluster import checked_cluster, is_client
from ipyjobs.residence import Residence
from ipyjobs.settings import EngineSetting


class DaskSide(Residence):
    """A part of an engine."""

    setting: EngineSetting

    @property
    def dask_client(self) -> Any:
        """A client of the cluster that Dask jobs run on, for work of your own there.

        Gives the client that was set. Else one of the engine's, and makes the cluster if there is none yet: where a
        loop runs it is asynchronous, so ``client = await engine.dask_client``; elsewhere it blocks until it is ready.

        May be set, while no Dask job runs: to a `distributed.Client` of either kind, a cluster that is running, or a
        scheduler's address. Jobs use a connection of their own, so a client may live on any loop. None: a cluster of
        the engine's own.

        Raises
        ------
        InvalidOption
            What it is set to leads to no scheduler.
        InvalidStateError
            It is set while Dask jobs have not ended.
        """
        if is_client(self.setting.dask):
            return self.setting.dask
        self._here()
        return self._dask().lend_client()

    @dask_client.setter
    def dask_client(self, given: object) -> None:
        given = checked_cluster("dask_client", given)
        if self.alive:
            self._here().call(self._dask().use, given)
        self.setting.dask = given

    @property
    def dask_dashboard(self) -> str:
        """Address of the Dask cluster's own page; empty if it has none, or if there is no cluster yet."""
        return self._dask().dashboard if self.alive else ""

    def _dask(self) -> DaskBackend:
        backend = self.flow.backends["dask"]
        assert isinstance(backend, DaskBackend)
        return backend
