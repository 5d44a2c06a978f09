"""Deprecated path of :mod:`bigbench_meta.generate.mirage`."""

import warnings

from bigbench_meta.generate import mirage as _mirage


def __getattr__(name: str) -> object:
    if name not in _mirage.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "bigbench_meta.mirage has moved: import bigbench_meta.generate.mirage",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(_mirage, name)
