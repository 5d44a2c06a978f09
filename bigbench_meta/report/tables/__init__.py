"""Tables for people, each with a caption that can be quoted alone."""
