"""Uncertainty of curve scores: intervals, exact tests, resolution and power, resampling."""
