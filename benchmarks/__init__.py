"""Measurements against KenLM, NLTK and PyTorch, side by side in one run."""
