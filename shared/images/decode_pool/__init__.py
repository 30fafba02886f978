"""Decoding in processes that may die, so that a hostile image can't harm the process that serves."""
