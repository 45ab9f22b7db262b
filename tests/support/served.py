"""Which symbols are served, over stores that hold state."""

from shared.services.served_symbols import ServedSymbols
from tests.support.memory_stores import MemoryStores
from tests.support.strategies import STRATEGIES


def served_symbols(stores: MemoryStores) -> ServedSymbols:
    return ServedSymbols(STRATEGIES.symbols, stores.bars, stores.signals)
