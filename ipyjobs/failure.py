"""Exceptions as data: captured where they are raised, raised again where the result is asked for."""

from __future__ import annotations
