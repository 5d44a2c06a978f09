"""Meta-analysis of emergence claims on BIG-Bench: is the jump in the model or in the metric?"""

import lazy_loader

from bigbench_meta._version import __version__ as __version__

# `__init__.pyi` is the one list of public names. A name is imported on first use, so that
# `bigbench-meta --help` loads no pandas.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
