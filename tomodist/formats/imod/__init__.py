"""Files of IMOD: alignments and angles; models and points."""
