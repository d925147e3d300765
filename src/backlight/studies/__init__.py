"""Studies: is what a picture shows what the unit sees? Each is a package with Config, run and a Result."""
