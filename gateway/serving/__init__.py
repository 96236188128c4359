"""Who answers a request, and how."""
