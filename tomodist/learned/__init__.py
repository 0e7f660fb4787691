"""Learned detectors: networks that look at one image (or one window of a volume).

    image --normalised, at the model's pixel size--> network, tile by tile --> masks or boxes

One rule: a detector holds a path and a hash, never weights: each process opens the network once, in
the task that first needs it.
"""
