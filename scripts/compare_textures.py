"""Compare the textures that autoencoders are trained on with photographs the user has.

    python scripts/compare_textures.py cifar-10.zip

Prints the share of the variance that the first principal components explain, and how the error that
is left varies over the pictures, for both. Of each the first 6,000 training pictures are taken, or
as many as there are.
"""

from __future__ import annotations

import sys

import numpy as np

from bigbench_meta.generate.trained.pictures import load_pictures

_COMPONENTS = (1, 4, 16, 64, 256)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def main(path: str) -> None:
    """Print the comparison."""
    sets = [load_pictures("autoencoder"), load_pictures("autoencoder", path)]
    n = min(6000, *(len(each.train) for each in sets))
    for each in sets:
        values = each.train.pixels[:n].reshape(n, -1) / 255
        values -= values.mean(axis=0)
        variances, vectors = np.linalg.eigh(values.T @ values / n)
        shares = np.cumsum(variances[::-1]) / variances.sum()
        print(f"{each.source}, {n} pictures")
        for count in _COMPONENTS:
            kept = vectors[:, -count:]
            left = ((values - values @ kept @ kept.T) ** 2).mean(axis=1) / values.var()
            quantiles = " ".join(f"{each:.3f}" for each in np.quantile(left, _QUANTILES))
            print(
                f"  {count:4d} components: {shares[count - 1]:.3f} of the variance; error left in "
                f"a picture at quantiles {_QUANTILES}: {quantiles}"
            )


if __name__ == "__main__":
    main(sys.argv[1])
