"""Files that are read from anywhere and written durably."""
