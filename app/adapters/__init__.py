"""One module per outside system; each translates to the ports' types and raises domain errors."""
