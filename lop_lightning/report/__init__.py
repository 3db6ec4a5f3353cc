"""From finished runs to figures, tables and one page; reads records, never a live trainer."""
