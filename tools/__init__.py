"""What builds and guards the book. Nothing here is part of the package `odyssey`."""
