"""Reading and locking files safely."""
