"""One index per category, of the kind that holds its recall."""
