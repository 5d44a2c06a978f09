"""Does the choice of metric account for the flags?"""
