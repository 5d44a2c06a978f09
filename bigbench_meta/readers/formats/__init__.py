"""One module a format: files in, tables out."""
