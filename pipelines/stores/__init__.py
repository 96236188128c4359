"""Where records are kept: ledger, inbox, journal, runs, blobs, signatures."""
