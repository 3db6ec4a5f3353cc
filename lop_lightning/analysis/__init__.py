"""What is computed from finished runs: statistics over seeds, records, loss of plasticity."""
