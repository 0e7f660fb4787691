"""The tomogram store: the only place that knows its layout, and how a unit is committed."""
