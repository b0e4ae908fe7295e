"""A bounded dictionary that several owners fill, in which no owner can push out the entries of one that has fewer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from typing_extensions import override

Owner = TypeVar("Owner", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class FairMemory(dict[Key, Value], Generic[Owner, Key, Value]):
    """A dictionary to read; write to it only with `keep` and `clear`.

    Args:
        limit: The number of entries of all owners. A further one replaces the oldest entry of the owner with the most.
        share: The number of entries of one owner. A further one replaces the owner's oldest.

    """

    def __init__(self, limit: int, share: int | None = None) -> None:
        super().__init__()
        self._limit = limit
        self._share = limit if share is None else share
        self._keys: dict[Owner, OrderedDict[Key, None]] = {}

    def keep(self, owner: Owner, key: Key, value: Value) -> None:
        """Add or replace an entry, which becomes the owner's newest.

        Args:
            owner: The owner.
            key: The key; it has the same owner until `clear`.
            value: The value.

        """
        if key not in self:
            if self._count(owner) >= self._share:
                self._drop_oldest(owner)
            elif len(self) >= self._limit:
                self._drop_oldest(self._owner_with_most(owner))
        self[key] = value
        keys = self._keys.setdefault(owner, OrderedDict[Key, None]())
        keys[key] = None
        keys.move_to_end(key)

    @override
    def clear(self) -> None:
        super().clear()
        self._keys.clear()

    def _count(self, owner: Owner) -> int:
        return len(self._keys.get(owner, ()))

    def _owner_with_most(self, adding: Owner) -> Owner:
        """The one that adds, if it has as many as any other: it must not take an entry from an equal."""
        most = max(self._keys, key=self._count)
        return adding if self._count(adding) >= self._count(most) else most

    def _drop_oldest(self, owner: Owner) -> None:
        keys = self._keys[owner]
        oldest, _ = keys.popitem(last=False)
        del self[oldest]
        if not keys:
            del self._keys[owner]
