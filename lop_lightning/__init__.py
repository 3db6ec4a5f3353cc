"""The laboratory for loss of plasticity.

A method is a pure function on one network; the lab lifts it over seeds, compiles it, feeds it a stream, records what it
does to plasticity, and can stop and go on at any update. ``lop_lightning.algos`` has the methods, ``.tasks`` the
streams, ``.networks``, ``.optimizers`` and ``.metrics`` what they are made of.
"""

__version__ = "0.1.0"
