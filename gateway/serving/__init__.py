"""How a question is answered: route, dispatch, fallbacks, shadows, quotas, cache, journal rows."""
