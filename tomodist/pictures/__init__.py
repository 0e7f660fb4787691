"""Pictures of results as PNG files; row 0 of an image is at the bottom, as in IMOD."""

from tomodist.pictures.classes import draw_classes
from tomodist.pictures.results import draw_all, draw_reconstruction

__all__ = ["draw_all", "draw_classes", "draw_reconstruction"]
