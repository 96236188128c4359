"""HTTP: routes, schemas, authentication, limits."""
