"""The study put together and shown: tables, charts, one page, files."""
