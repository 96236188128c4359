"""The statistics that the decisions stand on."""
