"""Sentences of several languages as numbers: read or made up, split, tokenised, and held once for all seeds."""
