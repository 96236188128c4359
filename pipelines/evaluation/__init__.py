"""What a candidate is asked and measured on."""
