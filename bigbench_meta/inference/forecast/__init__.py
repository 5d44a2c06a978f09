"""Forecasts of larger models from smaller ones, and their errors."""
