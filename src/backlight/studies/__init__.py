"""Studies: is what a picture shows what the unit sees? Each is a module with Config, run and Result."""
