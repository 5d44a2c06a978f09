"""Tests of every curve against a null: the smooth mechanism or a straight line."""
