"""The only place that names a vendor, called by role."""
