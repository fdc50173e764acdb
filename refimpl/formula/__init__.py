"""Registration: one decorator turns a plain function into a checked, listed and testable formula.

``@formula("(n,d),(m,d)->(n,m)", source=...)`` files a :class:`Formula` in the table. Calling it
checks the arguments once, uniformly over the library, and then runs the body, which is pure
mathematics. A project of one's own can register formulas in the same way and list, test and check
them like ours.

Rooms: ``options`` (what an option may be), ``arguments`` (what an array may be), ``record`` (the
formula itself and its forms), ``table`` (where all are found).
"""

from refimpl.formula.record import Form, Formula, as_tuple, upcast
from refimpl.formula.table import (
    BROKEN,
    TABLE,
    TOPICS,
    find,
    formula,
    formulas,
    load_table,
    search,
)

__all__ = [
    "BROKEN",
    "TABLE",
    "TOPICS",
    "Form",
    "Formula",
    "as_tuple",
    "find",
    "formula",
    "formulas",
    "load_table",
    "search",
    "upcast",
]
