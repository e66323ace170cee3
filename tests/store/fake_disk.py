"""Disks that fail: at a step, or by forgetting at a crash what was never synced."""

import os

from mailgw.disk import Disk


class Crash(Exception):
    """The process is gone."""


class ScriptedDisk(Disk):
    """A real disk that notes its steps, stops before step ``crash_at``, and fails where ``errors`` say so.

    ``errors`` maps the beginning of a step's text (``"sync_folder /m/new"``) to the errno it fails with.
    """

    def __init__(self, crash_at: int | None = None) -> None:
        self.steps: list[str] = []
        self.errors: dict[str, int] = {}
        self.crash_at = crash_at
        self.open: dict[int, str] = {}

    def _step(self, text: str) -> None:
        if self.crash_at is not None and len(self.steps) >= self.crash_at:
            raise Crash(text)
        self.steps.append(text)
        for start, number in self.errors.items():
            if text.startswith(start):
                raise OSError(number, os.strerror(number), text)

    def create(self, path: str) -> int:
        self._step(f"create {path}")
        descriptor = super().create(path)
        self.open[descriptor] = path
        return descriptor

    def open_shared(self, path: str) -> int:
        descriptor = super().open_shared(path)
        self.open[descriptor] = path
        return descriptor

    def create_shared(self, path: str) -> int:
        self._step(f"create {path}")
        descriptor = super().create_shared(path)
        self.open[descriptor] = path
        return descriptor

    def truncate(self, descriptor: int, octets: int) -> None:
        self._step(f"truncate {self.open[descriptor]}")
        super().truncate(descriptor, octets)

    def write(self, descriptor, chunks) -> None:
        self._step(f"write {self.open[descriptor]}")
        super().write(descriptor, chunks)

    def sync(self, descriptor: int) -> None:
        self._step(f"sync {self.open[descriptor]}")

    def close(self, descriptor: int) -> None:
        path = self.open.pop(descriptor)
        super().close(descriptor)
        self._step(f"close {path}")

    def rename(self, old: str, new: str) -> None:
        self._step(f"rename {new}")
        super().rename(old, new)

    def remove(self, path: str) -> None:
        self._step(f"remove {path}")
        super().remove(path)

    def sync_folder(self, path: str) -> None:
        self._step(f"sync_folder {path}")
        if not os.path.isdir(path):
            raise FileNotFoundError(path)

    def new_folder(self, path: str) -> None:
        self._step(f"new_folder {path}")
        super().new_folder(path)
