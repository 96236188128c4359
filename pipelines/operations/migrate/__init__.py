"""`nightshift migrate`: move the home of one machine to what several machines share."""
