"""Data sets from their published files, in the form that the streams read; one file a data set."""
