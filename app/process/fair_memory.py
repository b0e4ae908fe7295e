"""A bounded dictionary that several owners fill, in which no owner can push out the entries of one that has fewer."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from typing_extensions import override

Owner = TypeVar("Owner", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class FairMemory(dict[Key, Value], Generic[Owner, Key, Value]):
    """A dictionary to read; write to it only with `keep`, `drop`, `drop_some` and `clear`.

    Args:
        limit: The size of the entries of all owners. Beyond it the owner with the most loses its oldest entries.

    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        # Both ordered, so that the first one is found at once, however many have been dropped before it.
        self._sizes = OrderedDict[Owner, OrderedDict[Key, int]]()
        self._used = Counter[Owner]()
        self.used = 0
        """The size of all entries."""

    def keep(self, owner: Owner, key: Key, value: Value, size: int = 1) -> None:
        """Add or replace an entry, which becomes the owner's newest.

        Args:
            owner: The owner.
            key: The key; it has the same owner until `clear`.
            value: The value.
            size: In the unit of the limit, at most the limit: bytes, or 1 if entries are counted.

        """
        self.drop(owner, key)
        while self and self.used + size > self._limit:
            most = self._owner_with_most(owner)
            self.drop(most, next(iter(self._sizes[most])))
        self[key] = value
        self._sizes.setdefault(owner, OrderedDict[Key, int]())[key] = size
        self._used[owner] += size
        self.used += size

    def drop(self, owner: Owner, key: Key) -> None:
        """Remove an entry of `owner`, if it is there."""
        if key not in self:
            return
        sizes = self._sizes[owner]
        size = sizes.pop(key)
        del self[key]
        self._used[owner] -= size
        self.used -= size
        if not sizes:
            del self._sizes[owner], self._used[owner]

    def drop_some(self, entries: int) -> None:
        """Remove so many entries, or all if there are fewer; whose does not matter."""
        for _ in range(min(entries, len(self))):
            owner, sizes = next(iter(self._sizes.items()))
            self.drop(owner, next(iter(sizes)))

    @override
    def clear(self) -> None:
        super().clear()
        self._sizes.clear()
        self._used.clear()
        self.used = 0

    def _owner_with_most(self, adding: Owner) -> Owner:
        """The one that adds, if it has as much as any other: it must not take an entry from an equal."""
        most = max(self._used, key=self._used.__getitem__)
        return adding if self._used.get(adding, 0) >= self._used[most] else most
