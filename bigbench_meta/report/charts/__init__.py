"""Charts, each with the rows that it draws and a caption that can be quoted alone."""
