"""The trend of every curve and the shape that explains it best."""
