"""Read result files of several formats into observations, samples and problems."""

from bigbench_meta.readers.batch import ReadOptions, batches, read_batch
from bigbench_meta.readers.detect import SourceFile
from bigbench_meta.readers.problems import ProblemLog
from bigbench_meta.readers.results import load_embedded, load_embedded_samples, read_results
from bigbench_meta.readers.sources import discover

__all__ = [
    "ProblemLog",
    "ReadOptions",
    "SourceFile",
    "batches",
    "discover",
    "load_embedded",
    "load_embedded_samples",
    "read_batch",
    "read_results",
]
