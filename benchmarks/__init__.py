"""How fast the laboratory is: ``make bench``. Not a test: nothing here passes or fails."""
