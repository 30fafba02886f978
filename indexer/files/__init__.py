"""Reading files from anywhere, and writing them durably."""
