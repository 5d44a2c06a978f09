"""Formatted tables, each with a caption that can be quoted on its own."""
