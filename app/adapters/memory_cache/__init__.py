"""The shared cache of a broker without Redis: the same contracts in the memory of one process, bounded in size."""

from app.adapters.memory_cache.lease import MemoryLease
from app.adapters.memory_cache.memory_budget import MemoryExchangeBudget
from app.adapters.memory_cache.memory_limits import MemoryLimitShares
from app.adapters.memory_cache.purge_log import MemoryPurgeLog
from app.adapters.memory_cache.tokens import MemoryTokenCache

__all__ = ["MemoryExchangeBudget", "MemoryLease", "MemoryLimitShares", "MemoryPurgeLog", "MemoryTokenCache"]
