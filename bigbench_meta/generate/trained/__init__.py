"""Model families trained here: every output is public."""
