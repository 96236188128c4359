"""What each step writes down for later steps and the report: one typed model a step."""
