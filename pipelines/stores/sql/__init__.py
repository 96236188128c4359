"""What the stores with tables share: databases, migrations and leases."""
