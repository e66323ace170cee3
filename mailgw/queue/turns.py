"""Whose turn it is where many want one of few places: groups take turns, and within a group its members.

Pure.  Who is in it twice is in it once.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Members with a key and a group each; all methods take the same time however many there are."""

    __slots__ = ("_groups", "_of")

    def __init__(self) -> None:
        # Ordered ones: a plain dict looks through all the places from whose front something was taken before.
        self._groups: OrderedDict[str, OrderedDict[str, T]] = OrderedDict()
        self._of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, key: object) -> bool:
        return key in self._of

    def add(self, key: str, group: str, member: T) -> None:
        """To the end of its group; who waits already, by this key, keeps the place, which ``member`` has from now on.
        A group that is new comes last."""
        group = self._of.setdefault(key, group)
        members = self._groups.get(group)
        if members is None:
            members = self._groups[group] = OrderedDict()
        members[key] = member

    def take(self) -> T:
        """The next one; IndexError where nobody waits."""
        if not self._groups:
            raise IndexError("nobody waits")
        group, members = self._groups.popitem(last=False)
        key, member = members.popitem(last=False)
        del self._of[key]
        if members:
            self._groups[group] = members
        return member

    def drop(self, key: str) -> None:
        """It wants no place any more."""
        group = self._of.pop(key, None)
        if group is not None:
            members = self._groups[group]
            del members[key]
            if not members:
                del self._groups[group]
