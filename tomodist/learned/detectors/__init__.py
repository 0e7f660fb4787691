"""Detectors made of a network: masks, boxes, volumes; tiles and normalisation."""
