"""Analyses over all curves: by metric, by criterion, and of what accounts for the flags."""
