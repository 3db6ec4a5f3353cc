"""Where jobs run: on this machine's cores or on a cluster; and how they are doing (``lop-status``)."""

# Nothing is imported here: a job of a cluster must be ready for signals before it imports what takes seconds (turn.py).
