"""Deprecated path of :mod:`bigbench_meta.generate.mirage` and other names that have moved."""

import warnings

from bigbench_meta.generate import mirage as _mirage
from bigbench_meta.generate import multiple_choice as _multiple_choice
from bigbench_meta.generate import rouge as _rouge


def __getattr__(name: str) -> object:
    for home in (_mirage, _multiple_choice, _rouge):
        if name in home.__all__:
            warnings.warn(
                f"bigbench_meta.mirage has moved: import {name} from {home.__name__}",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
