"""Meta-analysis of emergence claims on BIG-Bench: is the jump in the model or in the metric?"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import a public name on first use; `__init__.pyi` lists them all, each with its home.

    The list is read when the first name is asked for, because `bigbench-meta --help` needs none.
    """
    import lazy_loader

    home, listing, names = lazy_loader.attach_stub(__name__, __file__)
    globals().update(__getattr__=home, __dir__=listing, __all__=[*names, "__version__"])
    return globals()["__all__"] if name == "__all__" else home(name)


def __dir__() -> list[str]:
    return __getattr__("__all__")  # type: ignore[return-value]
