"""Steps over a whole tomogram: one file per step; each makes one unit of the store.

    ingest        a stack               ->  tilt_series
    detect        tilt_series, a source ->  maps
    classes       label maps            ->  maps of every class
    backproject   maps                  ->  scores
    threshold     scores, maps          ->  curves
    ray_lengths   scores, maps          ->  edge_curves
    structures    scores                ->  labels, structures
    semantic      labels of classes     ->  labels
    tracks        boxes of maps         ->  structures
    maxima        scores                ->  structures
    reconstruct   tilt_series           ->  a reconstruction
    detect_volume a reconstruction      ->  scores
    annotate      a 3D mask             ->  labels
    compare, export, simulate               volumes and tables; files

The steps meet only on disk and never import each other; what they share is in `parts`. A task gets
handles and reads its own windows; what it returns is small.
"""
