"""Simulated specimens and tilt series with exact truth.

One rule: nothing here uses tomodist's own projectors, so tests and demos are no inverse crime.
"""

from tomodist.simulate.acquisition import Acquisition, TiltScheme, acquire
from tomodist.simulate.ctf import Ctf
from tomodist.simulate.phantoms import cell, hollow_sphere
from tomodist.simulate.projection import ShadowBoxes, boxes, project_scene, silhouette
from tomodist.simulate.scene import Ellipsoid, Scene, Structure

__all__ = [
    "Acquisition",
    "Ctf",
    "Ellipsoid",
    "Scene",
    "ShadowBoxes",
    "Structure",
    "TiltScheme",
    "acquire",
    "boxes",
    "cell",
    "hollow_sphere",
    "project_scene",
    "silhouette",
]
