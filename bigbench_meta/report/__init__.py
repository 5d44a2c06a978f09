"""The study and its output: tables, charts, a report page, files."""
