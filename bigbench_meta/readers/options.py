"""How to read: the options of an ingest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bigbench_meta.readers.streams import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from bigbench_meta.catalog.model_names import ModelNames

__all__ = ["ReadOptions"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read, the same for all files of an ingest.

    Attributes:
        samples: Also read single examples, where a format has them.
        max_bytes: Refuse files that hold or expand to more.
        mapping: TOML file that maps the columns of wide tables.
        names: CSV of model-name rules that go before the packaged ones.
    """

    samples: bool = False
    max_bytes: int = MAX_BYTES
    mapping: Path | None = None
    names: Path | None = None

    def model_names(self) -> ModelNames:
        """Return the rules that give a model's family and size."""
        # Imported here: it brings pandas along, which score files do without.
        from bigbench_meta.catalog.model_names import ModelNames, model_names

        if self.names is None:
            return model_names()
        return model_names().overridden_by(ModelNames.read(self.names))
