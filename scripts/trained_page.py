"""What the families trained here show: the tables of docs/trained.md.

    python scripts/trained_page.py       # rewrites the tables of docs/trained.md and its figures

Everything is computed from the embedded set `trained` (see scripts/collect_trained.py), within a
minute.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from scipy import stats
from simulated_cells import put_between
from tabulate import tabulate

import bigbench_meta as bm
from bigbench_meta.report.files import figure_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE: Final = Path(__file__).parents[1] / "docs" / "trained.md"
ARITHMETIC: Final = ("4-digit addition", "2-digit multiplication")
SHOWN: Final = ("exact_str_match", "token_edit_distance", "cross_entropy")


@cache
def scores() -> pd.DataFrame:
    """Return all scores."""
    return bm.load_embedded("trained")


def greedy(metrics: Sequence[str]) -> pd.DataFrame:
    """Return scores of arithmetic answers at temperature 0 under some metrics."""
    frame = scores()
    is_greedy = frame["task"].isin(ARITHMETIC) & (frame["variant"] == "greedy")
    return frame[is_greedy & frame["metric"].isin(metrics)]


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield rows with the columns as attributes."""
    yield from frame.itertuples()


def table(rows: list[list[Any]], *header: str) -> str:
    """Return a table in Markdown."""
    return str(tabulate(rows, headers=header, tablefmt="github", disable_numparse=True))


def number(value: Any, digits: int = 3) -> str:
    """Return a number in a few digits."""
    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def families() -> str:
    """Say what was trained."""
    rows = []
    for family, own in scores().groupby("model_family", observed=True, sort=False):
        seeds = own.groupby("total_params")["replicate"].nunique()
        loss = own.groupby("total_params")["pretraining_loss"].mean()
        rows.append(
            [
                family,
                str(len(seeds)),
                f"{seeds.index.min():,} to {seeds.index.max():,}",
                f"{seeds.min()}" + (f" ({seeds.max()} once)" if seeds.max() > seeds.min() else ""),
                f"{number(loss.iloc[0])} to {number(loss.iloc[-1])}" if loss.notna().all() else "",
            ]
        )
    return table(rows, "family", "sizes", "parameters", "seeds of a size", "held-out loss")


def emergence() -> str:
    """Show emergence scores of arithmetic under each metric, over seeds."""
    chosen = bm.emergence_over_seeds(greedy(SHOWN))
    rows = [
        [
            row.subtask,
            row.metric,
            number(row.emergence_score),
            number(row.emergence_score_median)
            + f" ({number(row.emergence_score_low)} to {number(row.emergence_score_high)})",
            number(row.relative_sharpness),
            number(row.resolution_limited_sharpness),
        ]
        for row in rows_of(chosen)
    ]
    return table(
        rows, "subtask", "metric", "E of the mean over seeds", "E of a seed: median (range)",
        "E/(n - 1)", "the same, limited by resolution",
    )  # fmt: skip


def inference() -> str:
    """Show the uncertainty of E, the test against the smooth mechanism, and the forecast."""
    rows = [
        [
            row.subtask,
            row.metric,
            number(row.emergence_score)
            + f" [{number(row.emergence_low)}, {number(row.emergence_high)}]",
            number(row.mechanism_p) or str(row.mechanism_status),
            f"{number(row.forecast)} [{number(row.forecast_low)}, {number(row.forecast_high)}]"
            if row.forecast_status == "ok"
            else str(row.forecast_status),
            number(row.score_last),
        ]
        for row in rows_of(bm.score_curves(bm.build_curves(greedy(SHOWN)), inference=True))
    ]
    return table(
        rows, "subtask", "metric", "E [95% interval]", "p, smooth mechanism",
        "forecast at the largest size [95% interval]", "observed there",
    )  # fmt: skip


def over_loss() -> str:
    """Compare emergence scores over size with those over the mean loss of a size."""
    chosen = greedy(SHOWN[:2])
    by_model = chosen.groupby(["model_family", "model_name"], observed=True)
    mean = chosen.assign(pretraining_loss=by_model["pretraining_loss"].transform("mean"))
    by_loss = bm.score_curves(bm.build_curves(mean, scale="pretraining_loss"))
    by_size = bm.score_curves(bm.build_curves(mean))
    both = by_size.merge(by_loss, on=["subtask", "metric"], suffixes=("", "_loss"))
    rows = [
        [row.subtask, row.metric, number(row.emergence_score), number(row.emergence_score_loss)]
        for row in rows_of(both)
    ]
    return table(rows, "subtask", "metric", "E over size", "E over the mean loss of a size")


def chance() -> str:
    """Hold the smallest models against chance, with 100 questions and with all of them."""
    rows = []
    for subtask, own in greedy(SHOWN[:1]).groupby("subtask", observed=True):
        length = int(str(subtask)[-1])
        smallest = own[own["total_params"] == own["total_params"].min()]
        right = (smallest["score"] * smallest["n_examples"]).round().astype(int)
        n = int(smallest["n_examples"].iloc[0])
        guess = 10.0**-length
        p = stats.binomtest(int(right.sum()), n * len(smallest), guess, alternative="greater")
        at_100 = 1 - (1 - smallest["score"].mean()) ** 100
        rows.append(
            [
                subtask,
                f"{guess:g}",
                f"{int(right.sum())} of {n * len(smallest):,}",
                number(float(p.pvalue), 2),
                f"{at_100:.0%}",
            ]
        )
    return table(
        rows, "subtask", "chance: each digit guessed", "smallest models, all seeds",
        "p, above chance", "probability of any right answer in 100",
    )  # fmt: skip


def product_law() -> str:
    """Hold accuracy against products of accuracies, in models that are sometimes right."""
    samples = bm.load_embedded_samples("trained").to_pandas()
    is_sum = samples["task"].isin(ARITHMETIC)
    found = pd.concat(
        [bm.product_law(samples[is_sum]), bm.product_law(samples[~is_sum], tokens="words")]
    )
    found = found[(found["observed"] > 0) & (found["observed"] < 1) & found["stderr"].notna()]
    found = found.assign(
        above=found["difference"] > 1.96 * found["stderr"],
        below=found["difference"] < -1.96 * found["stderr"],
        ratio=found["observed"] / found["predicted"].where(found["predicted"] > 0),
    )
    found["variant"] = found["variant"].astype(object).where(found["variant"].notna(), "")
    grouped = found.groupby(["task", "law", "variant"], observed=True, sort=False, dropna=False)
    rows = [
        [
            task, law, str(variant), str(len(own)),
            number(own["observed"].mean()), number(own["predicted"].mean()),
            number(own["ratio"].median()), str(int(own["above"].sum())),
            str(int(own["below"].sum())),
        ]
        for (task, law, variant), own in grouped
    ]  # fmt: skip
    return table(
        rows, "task", "law", "answers", "comparisons", "mean accuracy", "mean prediction",
        "median ratio", "significantly above", "below",
    )  # fmt: skip


def loss_law() -> str:
    """Show power laws of the loss."""
    known = scores()[scores()["pretraining_loss"].notna()]
    # Embeddings do not count where there are some (Kaplan et al. 2020).
    embeds = known["non_embedding_params"].notna()
    fits = pd.concat(
        [
            bm.loss_law(known[embeds], scale="non_embedding_params").fits,
            bm.loss_law(known[~embeds], scale="total_params").fits,
        ]
    )
    rows = [
        [
            row.model_family,
            row.law,
            f"{number(row.exponent)} [{number(row.exponent_low)}, {number(row.exponent_high)}]",
            number(row.constant),
            number(row.lack_of_fit),
            f"{row.p_unequal:.1g}",
        ]
        for row in rows_of(fits)
    ]
    return table(
        rows, "family", "law", "exponent [95% interval]", "constant", "F, lack of fit", "p"
    )


def seeds() -> str:
    """Show whether seeds of the size with most of them fall into two groups."""
    found = bm.bimodality(greedy(SHOWN[:2]))
    found = found[found["status"] == "ok"]
    rows = [
        [
            row.subtask, row.metric, number(row.x), str(row.n_seeds), number(row.p_dip, 2),
            f"{number(row.lower_mode)} and {number(row.upper_mode)}",
            f"{row.share_upper:.0%} [{row.share_low:.0%}, {row.share_high:.0%}]",
        ]
        for row in rows_of(found)
    ]  # fmt: skip
    return table(
        rows, "subtask", "metric", "parameters", "seeds", "p, dip test", "lower and upper mode",
        "share in the upper mode [95% interval]",
    )  # fmt: skip


VISION: Final = {
    "shallow autoencoders": "CIFAR100 shallow nonlinear autoencoder",
    "picture transformers": "Omniglot autoregressive transformer",
    "LeNet": "MNIST LeNet",
}
PAPER_METRICS: Final = {
    "multiple_choice_grade": "accuracy", "exact_str_match: length 1": "accuracy",
    "exact_str_match: length 3": "subset_accuracy_3",
}  # fmt: skip
NOT_SHOWN: Final = ("token_edit_distance", "log_likelihood")


def vision() -> str:
    """Show emergence scores of the vision families, and the paper's."""
    frame = scores()
    frame = frame[frame["model_family"].isin(list(VISION)) & ~frame["metric"].isin(NOT_SHOWN)]
    rows = []
    for row in rows_of(bm.emergence_over_seeds(frame)):
        of_length = (
            str(row.subtask).rpartition(": length ")[2] if ": length " in row.subtask else ""
        )
        if of_length and row.metric != "exact_str_match" and of_length != "5":
            continue  # they hardly depend on the number of labels
        paper, n = paper_score(row.model_family, row.metric, of_length)
        rows.append(
            [
                row.model_family,
                row.metric
                + (f", {of_length} label{'s' * (of_length != '1')}" if of_length else ""),
                number(row.emergence_score),
                number(row.emergence_score_median)
                + f" ({number(row.emergence_score_low)} to {number(row.emergence_score_high)})",
                number(row.relative_sharpness),
                f"{number(paper)} ({n} sizes)" if n else "",
            ]
        )
    return table(
        rows, "family", "metric", "E of the mean over seeds", "E of a seed: median (range)",
        "E/(n - 1)", "E in the paper's figure",
    )  # fmt: skip


def paper_score(family: str, metric: str, length: str) -> tuple[float, int]:
    """Return the emergence score of the curve that the paper draws, and how many sizes it has."""
    wanted = PAPER_METRICS.get(f"{metric}: length {length}" if length else metric, metric)
    paper = bm.load_embedded("paper")
    drawn = paper[(paper["task"] == VISION[family]) & (paper["metric"] == wanted)]
    if drawn.empty:
        return math.nan, 0
    # In the order drawn, which is that of sizes: of Omniglot the sizes are not known.
    ordered = drawn.sort_values("total_params", kind="stable")["score"].to_numpy()
    if wanted == "mean_squared_error":
        ordered = -ordered
    return float(bm.emergence_score(ordered)), len(ordered)


def kept() -> str:
    """Show how far the choice of sizes makes a jump, on the mean over seeds."""
    names = scores()["metric"].astype(str)
    is_sharp = names.isin(["exact_str_match", "subset_accuracy_10"]) | names.str.contains("<=")
    curves = bm.build_curves(scores()[is_sharp & (scores()["variant"] != "temperature 1")])
    rows = []
    points = curves.points()
    for curve in range(len(curves)):
        own, key = points[points["curve"] == curve], curves.keys.iloc[curve]
        # One example changes the chance that K are all right by K / n at most.
        step = 10 if key["metric"] == "subset_accuracy_10" else 1
        found = bm.kept_sizes(own["score"].to_numpy(), resolution=step / own["n_examples"].min())
        few = found[found["value"] == 4].iloc[0]
        every = found.iloc[-1]
        widths = own["model_name"].astype(str).str.removeprefix("width ").iloc[list(few["places"])]
        rows.append(
            [
                key["subtask"], key["metric"], str(len(own)), number(every["emergence_score"]),
                f"{few['median_score']:.1f}", number(few["emergence_score"]),
                ", ".join(widths),
                f"{few['share_flagged']:.1%}",
            ]
        )  # fmt: skip
    return table(
        rows, "subtask", "metric", "sizes", "E of all", "median E of 4 sizes", "largest",
        "widths kept", "share above 100",
    )  # fmt: skip


def pass_rates() -> str:
    """Hold exact match against the task scaling law."""
    exact = scores()
    exact = exact[(exact["metric"] == "exact_str_match") & (exact["variant"] != "temperature 1")]
    found = bm.convexity(bm.build_curves(exact, average=False))
    rows = [
        [
            row.subtask, str(row.n_points),
            row.convexity if row.status == "ok" else row.status,
            f"{number(row.bend)} [{number(row.bend_low)}, {number(row.bend_high)}]"
            if row.status == "ok" else "",
            number(row.p, 2), number(row.p_holm, 2),
        ]
        for row in rows_of(found)
    ]  # fmt: skip
    return table(rows, "subtask", "models", "class", "bend [95% interval]", "p", "p, Holm")


def page(text: str) -> str:
    """Return the text of the page with its tables computed anew."""
    for name, content in (
        ("families", families),
        ("arithmetic", emergence),
        ("inference", inference),
        ("over loss", over_loss),
        ("chance", chance),
        ("product law", product_law),
        ("loss law", loss_law),
        ("seeds", seeds),
        ("pass rates", pass_rates),
        ("vision", vision),
        ("kept sizes", kept),
    ):
        text = put_between(text, name, content(), PAGE)
    return text


def main() -> None:
    """Rewrite the tables and figures of the page."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    for figure in bm.plot_families(scores()):
        drawing = figure_files(figure)[f"figures/{figure.name}.svg"]
        (PAGE.parent / "img" / f"trained_{figure.name}.svg").write_text(str(drawing), "utf-8")


if __name__ == "__main__":
    main()
