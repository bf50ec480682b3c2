"""The commands: `ape run <name>`. They parse, call `ml`, and print."""
