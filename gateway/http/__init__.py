"""The gateway's HTTP API: routes, schemas, authentication, limits of a request."""
