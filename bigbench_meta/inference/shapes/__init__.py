"""The trend and the best-fitting shape of every curve."""
