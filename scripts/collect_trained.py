"""Collect what `bigbench-meta generate` trained into the packaged data of the set `trained`.

    bigbench-meta generate arithmetic --profile full --out runs/arithmetic  # and the others
    python scripts/collect_trained.py runs/*

writes

- data/trained.csv                   scores of all finished models
- data/trained_checkpoints.parquet   scores during training
- data/samples_trained.parquet       outputs of the models of seed 0, some 2,000 examples a study
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES, conform
from bigbench_meta.generate.trained.plan import STUDIES

DATA: Final = Path(__file__).parents[1] / "data"
EXAMPLES: Final = 2000


def main() -> None:
    """Collect the studies of the folders."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    folders = {study_of(folder): folder for folder in parser.parse_args().folders}
    ordered = [folders[study] for study in STUDIES if study in folders]
    scores = pd.concat([pd.read_csv(folder / "scores.csv") for folder in ordered])
    checkpoints = pd.concat([pd.read_csv(folder / "checkpoints.csv") for folder in ordered])
    scores.to_csv(DATA / "trained.csv", index=False, float_format="%.7g")
    table = conform(checkpoints)
    kept = [name for name in OBSERVATIONS.names if table[name].null_count < table.num_rows]
    pq.write_table(
        table.select(kept), DATA / "trained_checkpoints.parquet", compression="zstd",
        compression_level=19,
    )  # fmt: skip
    samples = pa.concat_tables([examples_of(folder) for folder in ordered])
    kept = [name for name in SAMPLES.names if samples[name].null_count < samples.num_rows]
    numbers = ["target_logprobs.list.element", "metrics.key_value.value"]
    pq.write_table(
        samples.select(kept), DATA / "samples_trained.parquet", compression="zstd",
        compression_level=19, use_byte_stream_split=numbers,  # exact, and smaller by a third
        use_dictionary=[name for name in kept if name not in {"target_logprobs", "metrics"}],
    )  # fmt: skip
    for name in ("trained.csv", "trained_checkpoints.parquet", "samples_trained.parquet"):
        print(f"{name}: {(DATA / name).stat().st_size / 1e6:.2f} MB")


def study_of(folder: Path) -> str:
    """Return which study a folder holds."""
    return str(json.loads((folder / "plan.json").read_text("utf-8"))["study"])


def examples_of(folder: Path) -> pa.Table:
    """Return the outputs of seed 0, the first examples of each subtask."""
    files = sorted(folder.glob("samples_*_seed0.parquet"))
    families = {file.name.split("_")[1] for file in files}
    parts = []
    for file in files:
        table = pq.read_table(file, schema=SAMPLES.arrow)
        keys = table.select(["subtask", "variant"]).to_pandas()
        n_subtasks = keys["subtask"].nunique()
        most = EXAMPLES // (n_subtasks * len(families))
        place = keys.groupby(["subtask", "variant"], observed=True, dropna=False).cumcount()
        parts.append(table.filter(pa.array(place < most)))
    return pa.concat_tables(parts).unify_dictionaries()


if __name__ == "__main__":
    main()
