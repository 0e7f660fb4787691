"""The algorithms on one brick or one tile: plain functions of arrays and of a way to read windows.

Here is what the paper describes; `tomodist.kernels` holds the inner loops and `tomodist.steps`
runs these functions over a whole tomogram.

    lift/         maps to scores, and volumes to images        (backprojection, projection)
    threshold/    scores to a threshold                        (reprojection, ray lengths)
    objects/      scores or 2D boxes to structures             (components, tracks, maxima)
    reconstruct/  images to grey values                        (weighted backprojection, SIRT)
"""
