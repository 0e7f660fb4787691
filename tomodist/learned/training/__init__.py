"""Training of 2D and 3D networks: examples, patches, losses, and one plain loop.

    stores --loaders--> examples --patches, augmented--> batches --loss--> steps --best--> model

One rule: step k of a run draws its random numbers from (seed, k) alone, so a run that was
interrupted and goes on takes the same steps, bit by bit, as one that was not.
"""
