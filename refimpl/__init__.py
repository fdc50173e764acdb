"""refimpl: the reference oracle for attention, positions, Gaussian distances and their kin.

``import refimpl`` costs NumPy and nothing else; formulas are loaded when first asked for by name:

>>> import refimpl
>>> refimpl.gaussian_kl([0.0], [[1.0]], [0.0], [[1.0]])
np.float64(0.0)
"""

from __future__ import annotations

__version__ = "0.1.0"


def __getattr__(name: str):
    # PEP 562: keeps `import refimpl` as light as NumPy. Private names never load the topics.
    import importlib
    import importlib.util

    if name.startswith("_"):
        raise AttributeError(f"module 'refimpl' has no attribute {name!r}")
    if importlib.util.find_spec(f"refimpl.{name}"):
        return importlib.import_module(f"refimpl.{name}")
    from refimpl.formula import find

    try:
        found = find(name)
    except KeyError as error:
        raise AttributeError(
            f"module 'refimpl' has no attribute {name!r}: {error.args[0]}"
        ) from None
    if found.name != name:
        raise AttributeError(f"module 'refimpl': {name} is called {found.name} here")
    # The next access does not come here.
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    from refimpl.formula import load_table

    return sorted({*globals(), *load_table()})
