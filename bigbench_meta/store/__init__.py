"""The observations and samples on disk: one store for many result files."""

from bigbench_meta.store.store import IngestSummary, Store

__all__ = ["IngestSummary", "Store"]
