"""What people and DAGs ask for besides the steps of a night."""
