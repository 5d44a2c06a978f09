"""Check one claim of emergence: is the rise sharper than smooth improvement makes it?"""
