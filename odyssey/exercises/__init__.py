"""Checks for the exercises, one module a chapter: ``from odyssey.exercises.tape import check_...``."""
