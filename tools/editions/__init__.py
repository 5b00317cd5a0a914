"""The book for paper and for e-readers: `python -m tools.editions` builds a PDF and an EPUB from the book's sources."""
