"""Charts, each with the data it draws and a caption that can be quoted on its own."""
